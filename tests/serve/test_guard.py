"""Who may ask: hosts, origins, keys; addresses that others can reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from trimix_cpp.commands import main
from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.serve.guard import Access, is_loopback
from trimix_cpp.serve.server import ServeFlags, _listen, access_of, listening

from ..support.serving import Server, serving

KEY = "sésame-ouvre-toi"
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("localhost:8080", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.9.9.9:1", True),
        ("[::1]:8080", True),
        ("me.localhost", True),
        ("proxy.example:443", True),
        ("example.org", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("10.0.0.1", False),
        ("", False),
        ("[", False),
        ("user@evil", False),
    ],
)
def test_names_of_this_server(host: str, good: bool) -> None:
    access = access_of(ServeFlags(names=("proxy.example",)))
    assert access.is_named(host) is good


@pytest.mark.parametrize(
    ("origin", "good"),
    [
        ("http://127.0.0.1:8080", True),
        ("https://127.0.0.1:8080", True),
        ("https://ours.example", True),
        ("moz-extension://8d1c", True),
        ("http://127.0.0.1:9090", False),
        ("http://evil.example", False),
        ("https://ours.example.evil", False),
        ("null", False),
    ],
)
def test_origins(origin: str, good: bool) -> None:
    access = Access(origins=frozenset({"https://ours.example"}))
    assert access.may_come_from(origin, "127.0.0.1:8080") is good


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", ""])
def test_an_address_that_others_reach_needs_a_key(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(UsageError, match="--api-key"):
        access_of(ServeFlags(host=host))
    assert access_of(ServeFlags(host=host, keys=("k",))).names is None
    assert access_of(ServeFlags(host=host, no_key=True)).knows(b"anything")


def test_the_command_refuses_before_it_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "--trio", "demo", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "--api-key" in capsys.readouterr().err
    empty = tmp_path / "keys"
    empty.write_text("\n\n")
    assert main(["serve", "--trio", "demo", "--api-key-file", str(empty)]) == 2
    assert "there is no key in it" in capsys.readouterr().err
    assert main(["serve", "--trio", "demo", "--shots", "eng-uig"]) == 2
    assert "FROM-TO=FILE" in capsys.readouterr().err


def test_an_address_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with listening("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--trio", "demo", "--port", str(port)]) == 1
    assert f"cannot listen on 127.0.0.1, port {port}" in capsys.readouterr().err
    with listening("127.0.0.1", 0) as first:  # two that load at the same time
        port = first.getsockname()[1]
        with listening("127.0.0.1", port) as second:
            first.listen()
            with pytest.raises(TrimixError, match=f"cannot listen on 127.0.0.1, port {port}"):
                _listen(second)
    assert main(["serve", "--trio", "demo", "--host", "no.such.host.invalid", "--no-api-key"]) == 1
    assert "cannot listen" in capsys.readouterr().err


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"another\n  {KEY}  \n", encoding="utf-8")
    with serving(
        "--trio", "demo", "-t", "1", "-c", "256", "-np", "1", "--api-key-file", str(keys),
        "--cors", "https://ours.example",
    ) as server:  # fmt: skip
        yield server


@pytest.fixture(scope="module")
def http(guarded: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, timeout=60) as client:
        yield client


def test_keys(http: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": "Open"}], "max_tokens": 1}
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY.encode()}):
        answer = http.post(CHAT, json=body, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "authentication_error"
        assert answer.json()["error"]["message"] == "Invalid API Key"
    for headers in ({"Authorization": b"Bearer another"}, {"X-Api-Key": b"another"}):
        assert http.post(CHAT, json=body, headers=headers).status_code == 200
    good = {"Authorization": f"Bearer {KEY}".encode()}
    assert http.get("/v1/models", headers=good).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/props", "/jobs/a", "/nothing"])
def test_without_a_key_nothing_is_told(http: httpx.Client, path: str) -> None:
    assert http.get(path).status_code == 401


@pytest.mark.parametrize("path", ["/", "/health", "/languages", "/frontend/settings"])
def test_what_needs_no_key(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_libretranslates_key_stands_in_the_body(http: httpx.Client) -> None:
    body = {"q": "Save", "source": "en", "target": "ug"}
    answer = http.post("/translate", json=body)
    assert answer.status_code == 403
    assert answer.json() == {"error": "Invalid API key"}
    assert http.post("/translate", data={**body, "api_key": KEY}).status_code == 200
    assert http.post("/detect", json={"q": "Save", "api_key": KEY}).status_code == 200


def test_pages_of_others(http: httpx.Client) -> None:
    key = {"X-Api-Key": "another"}
    assert http.get("/v1/models", headers={**key, "Host": "evil.example"}).status_code == 403
    answer = http.get("/v1/models", headers={**key, "Origin": "http://evil.example"})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    ours = {"Origin": "https://ours.example"}
    answer = http.get("/v1/models", headers={**key, **ours})
    assert answer.headers["access-control-allow-origin"] == "https://ours.example"
    asked = {**ours, "Access-Control-Request-Method": "POST"}
    assert http.options(CHAT, headers=asked).status_code == 200


def test_nothing_but_the_page_is_a_file(http: httpx.Client) -> None:
    for path in ("/page/../app.py", "/page/%2e%2e/app.py", "/page//etc/passwd", "/page/"):
        assert http.get(path, headers={"X-Api-Key": "another"}).status_code == 404
