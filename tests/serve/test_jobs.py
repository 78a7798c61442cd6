"""A file as a job: its progress, its flags, its translation, its end."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

PO = """msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

msgid "Open"
msgstr ""

msgid "Save %s"
msgstr ""
"""


def send(http: httpx.Client, name: str, data: bytes, **asked: str) -> httpx.Response:
    return http.post("/jobs", params={"name": name, "target": "ug", **asked}, content=data)


def ended(http: httpx.Client, job: str) -> Any:
    for _ in range(600):
        told = http.get(f"/jobs/{job}").json()
        if told["state"] != "running":
            return told
        time.sleep(0.1)
    raise AssertionError("the job does not end")


def test_a_file_is_translated(http: httpx.Client) -> None:
    begun = send(http, "../folder/خەت.po", PO.encode(), source="en")
    assert begun.status_code == 202
    job = begun.json()["id"]
    told = ended(http, job)
    assert told["state"] == "done"
    assert (told["done"], told["total"], told["segments"]) == (2, 2, 2)
    shown = http.get(f"/jobs/{job}/segments").json()["shown"]
    assert [each["source"] for each in shown] == ["Open", "Save %s"]
    assert all(each["translation"] for each in shown)
    file = http.get(told["download"])
    assert (
        file.headers["content-disposition"] == "attachment; filename*=utf-8''%D8%AE%DB%95%D8%AA.po"
    )
    assert shown[0]["translation"] in file.text
    assert http.delete(f"/jobs/{job}").json()["state"] == "cancelled"
    assert http.get(f"/jobs/{job}").status_code == 404
    assert http.get(told["download"]).status_code == 404


def test_a_job_can_be_left(http: httpx.Client) -> None:
    lines = "\n".join(f"Open file number {i} and save it again" for i in range(300))
    job = send(http, "many.txt", lines.encode()).json()["id"]
    while not (told := http.get(f"/jobs/{job}").json())["done"]:
        assert told["state"] == "running"
        time.sleep(0.05)
    part = http.get(f"/jobs/{job}/segments", params={"from": "0"}).json()
    assert any(each["translation"] for each in part["shown"])
    # Somebody else is not kept waiting by a long file.
    assert http.post("/translate", json={"q": "Save", "source": "en", "target": "ug"}).json()[
        "translatedText"
    ]
    assert http.get(f"/jobs/{job}").json()["state"] == "running"
    http.delete(f"/jobs/{job}")
    assert http.get(f"/jobs/{job}/segments").status_code == 404


@pytest.mark.parametrize(
    ("name", "data", "asked", "said"),
    [
        ("", b"a", {}, "name is the file's name"),
        ("..", b"a", {}, "name is the file's name"),
        ("a.xyz", b"a", {}, "no format here has this ending"),
        ("a.txt", b"a", {"format": "exe"}, "format is one of"),
        ("a.txt", b"a", {"target": "xx"}, "unknown language"),
        ("a.jsonl", b"{", {}, "a.jsonl"),
        ("a.txt", b"x" * (9 << 20), {}, "larger than 8 MiB"),
    ],
)
def test_what_is_no_file(
    http: httpx.Client, name: str, data: bytes, asked: dict[str, str], said: str
) -> None:
    answer = send(http, name, data, **asked)
    assert answer.status_code in (400, 413)
    assert said in answer.json()["error"]["message"]
