"""Settings of the network: each that cannot work is named in one line, before any waiting."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimix_cpp.errors import TrimixError
from trimix_cpp.pull import network

from ..support.hub_server import Hub
from .store_checks import TRIO, Puller, assert_whole

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("variable", [*PROXIES, "all_proxy"])
@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("socks://127.0.0.1:9", "begins with socks://"),
        ("ftp://127.0.0.1:9", "begins with ftp://"),
        ("http://127.0.0.1:99999", "is no address"),
        ("http://127.0.0.1:port", "is no address"),
        ("http://127.0.0.1:0", "has no port"),
        ("http://", "names no host"),
        ("http://[::1", "is no address"),
        ("http://a b:9", "names no host"),
        ("http://user:p@ss@127.0.0.1:9", "more than one @"),
    ],
)
def test_a_proxy_that_cannot_be(
    home: Path, puller: Puller, variable: str, url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, url)
    with pytest.raises(TrimixError, match=words) as error:
        puller()
    assert variable.lower() in str(error.value).lower()
    assert "p@ss" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_socks_proxy_needs_a_package(
    home: Path, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    if network.find_spec("socksio"):
        pytest.skip("it is installed")
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:9")
    with pytest.raises(TrimixError, match=r"ALL_PROXY=socks5h://127.0.0.1:9 needs .*socksio"):
        puller()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "127.0.0.1:9", "http://me:secret@127.0.0.1:9"]
)
def test_a_dead_proxy_is_named(
    home: Path, puller: Puller, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import close_session

    monkeypatch.setenv("HTTP_PROXY", url)
    close_session()  # it remembers the proxies
    try:
        with pytest.raises(
            TrimixError, match=r"no connection through the proxy .*127.0.0.1:9"
        ) as e:
            puller()
    finally:
        monkeypatch.delenv("HTTP_PROXY")
        close_session()
    assert "secret" not in str(e.value)
    assert not puller.told  # type: ignore[attr-defined] # no waiting for what is refused


@pytest.mark.parametrize(
    "url",
    ["localhost:1", "hub.example.org", "ftp://x", "https://", "http://x:99999", "//x", "http://[a"],
)
def test_an_endpoint_that_cannot_be(
    home: Path, puller: Puller, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", url)
    with pytest.raises(TrimixError, match=r"HF_ENDPOINT=.* it is written https://host"):
        puller()


def test_an_empty_endpoint_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_ENDPOINT", "")
    assert network.endpoint() == constants.ENDPOINT
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror/hf//")
    assert network.endpoint() == "https://mirror/hf"


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_not_there(
    home: Path, puller: Puller, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "/no/such/place")
    with pytest.raises(TrimixError, match=f"{name}=/no/such/place: there is no such file"):
        puller()


def test_certificates_that_are_none(
    home: Path, puller: Puller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import close_session

    (tmp_path / "none.pem").write_text("no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    close_session()
    try:
        with pytest.raises(TrimixError, match=r"as it is set up .*SSL_CERT_FILE"):
            puller()
    finally:
        monkeypatch.delenv("SSL_CERT_FILE")
        close_session()


def test_a_token_that_is_refused(
    home: Path, hub: Hub, puller: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["org/base"].strict = True
    monkeypatch.setenv("HF_TOKEN", "hf_old\n")
    with pytest.raises(TrimixError, match=r"the token in HF_TOKEN is not accepted") as error:
        puller()
    assert "set HF_TOKEN" not in str(error.value)
    assert "unset it" in str(error.value)
    monkeypatch.delenv("HF_TOKEN")
    assert_whole(home, puller())


@pytest.mark.parametrize("kind", ["private", "gated"])
def test_a_token_without_the_right(
    home: Path, hub: Hub, puller: Puller, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setattr(hub.repos["org/cpt"], kind, True)
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(TrimixError, match=r"the token in HF_TOKEN|the account that did") as error:
        puller()
    assert "or set HF_TOKEN" not in str(error.value)


@pytest.mark.parametrize("token", ["hf old", "hf_ۇ", "hf\nX: y"])
def test_a_token_that_cannot_be_one(
    home: Path, puller: Puller, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(TrimixError, match=r"the token in HF_TOKEN has spaces or letters"):
        puller()


def test_a_toml_that_changed_after_an_unfinished_pull(
    home: Path, hub: Hub, puller: Puller, checkpoints: dict[str, Path]
) -> None:
    hub.add("org/cpt-v2", checkpoints["cpt"])
    hub.repos["org/large"].lost.add("tokenizer.json")
    with pytest.raises(TrimixError):
        puller()
    hub.repos["org/large"].lost.clear()
    asked = len(hub.log)
    (home.parent / "tiny.toml").write_text(TRIO.replace("org/cpt", "org/cpt-v2"))
    manifest = puller()
    assert {m.repository for m in manifest.models} == {"org/base", "org/cpt-v2", "org/large"}
    assert_whole(home, manifest)  # what was begun of the other is gone
    assert {name for _, name, file, _ in hub.log[asked:] if file == "api"} == {"org/cpt-v2"}
