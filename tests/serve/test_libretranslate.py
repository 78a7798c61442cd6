"""LibreTranslate's protocol, asked by its own client, as Weblate asks, and by hand."""

from __future__ import annotations

from urllib.error import HTTPError

import httpx
import pytest
from libretranslatepy import LibreTranslateAPI

from ..support.serving import Server
from .exact_trio import ExactTrio


@pytest.fixture(scope="module")
def client(server: Server) -> LibreTranslateAPI:
    return LibreTranslateAPI(server.url)


def test_its_client_translates_as_the_command_does(
    client: LibreTranslateAPI, trio: ExactTrio
) -> None:
    text = "Open the file"
    assert client.translate(text, "en", "ug") == trio.translate(text) != ""


def test_its_client_lists_and_detects(client: LibreTranslateAPI) -> None:
    assert {entry["code"] for entry in client.languages()} == {"en", "ug"}
    assert client.detect("بۇ ئۇيغۇرچە تېكىست")[0]["language"] == "ug"
    assert client.detect("བོད་སྐད་")[0]["language"] == "bo"
    assert client.detect("An English text")[0]["language"] == "en"
    assert client.detect("123") == []


def test_its_client_learns_of_a_mistake(client: LibreTranslateAPI) -> None:
    with pytest.raises(HTTPError) as caught:
        client.translate("Open", "en", "xx")
    assert caught.value.code == 400
    assert b"unknown language 'xx'" in caught.value.read()


def test_a_list_as_weblate_and_editors_send_it(http: httpx.Client) -> None:
    texts = ["Save %s now", "1.2.3", "Open &File\nClose {name}"]
    asked = {"q": texts, "source": "en", "target": "ug", "format": "text", "api_key": ""}
    answer = http.post("/translate", json=asked).json()
    first, second, third = answer["translatedText"]
    assert "%s" in first
    assert second == "1.2.3"  # nothing to translate
    assert third.count("\n") == 1
    assert len(answer["flags"]) == 3
    assert "(&F)" in third


def test_html_keeps_its_tags(http: httpx.Client) -> None:
    page = '<p class="a">Open the <b>file</b> &amp; go</p>\n<script>if (a < b) {}</script><br>'
    asked = {"q": page, "source": "en", "target": "ug", "format": "html"}
    done = http.post("/translate", data=asked).json()["translatedText"]
    assert done.startswith('<p class="a">')
    assert done.endswith("</p>\n<script>if (a < b) {}</script><br>")
    assert done.count("<b>") == done.count("</b>") == 1
    assert done != page


@pytest.mark.parametrize("way", ["json", "data", "files"])
def test_a_request_comes_in_any_form(http: httpx.Client, way: str) -> None:
    fields = {"q": "Save", "source": "auto", "target": "ug"}
    body = {name: (None, value) for name, value in fields.items()} if way == "files" else fields
    answer = http.post("/translate", **{way: body}).json()  # type: ignore[arg-type]
    assert answer["translatedText"]
    assert answer["detectedLanguage"]["language"] == "en"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"source": "en", "target": "ug"}, "missing q"),
        ({"q": "a", "target": "ug"}, "missing source"),
        ({"q": "a", "source": "en"}, "missing target"),
        ({"q": [], "source": "en", "target": "ug"}, "q is a text"),
        ({"q": [1], "source": "en", "target": "ug"}, "q is a text"),
        ({"q": {"a": 1}, "source": "en", "target": "ug"}, "q is a text"),
        ({"q": "a", "source": "en", "target": "ug", "format": "pdf"}, "text or html"),
        ({"q": "a" * 300_000, "source": "en", "target": "ug"}, "at most"),
    ],
)
def test_mistakes_have_libretranslates_shape(
    http: httpx.Client, asked: dict[str, object], said: str
) -> None:
    answer = http.post("/translate", json=asked)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


def test_one_language_twice_is_no_work(http: httpx.Client) -> None:
    asked = {"q": "Open", "source": "en", "target": "en"}
    assert http.post("/translate", json=asked).json()["translatedText"] == "Open"


def test_what_a_page_may_offer(http: httpx.Client) -> None:
    said = http.get("/frontend/settings").json()
    assert said["language"]["target"] == {"code": "ug", "name": "Uyghur"}
    assert said["keyRequired"] is False
    assert ".po" in said["supportedFilesFormat"]
