"""The page as people have it: in a browser, against a server on the bundled trio."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("playwright", reason="the page is tried in a browser: pip install playwright")
from playwright.sync_api import Browser, Locator, Page, Route, expect

from trimix_cpp.chat.saved import read_chat

from ..support.browser import Opener, browsing, opening
from ..support.cli import trimix
from ..support.serving import Server, serving
from .conftest import ARGUMENTS

UYGHUR = "ھۆججەتنى ئېچىپ، ھەممىسىنى ساقلاڭ."
TIBETAN = "བོད་ཀྱི་སྐད་ཡིག་ནི་བོད་མི་རིགས་ཀྱི་སྐད་ཡིག་ཡིན། དེ་ནི་ལོ་ངོ་སྟོང་ལྷག་གི་ལོ་རྒྱུས་ལྡན་པའི་སྐད་ཡིག་ཅིག་རེད།"
MONGOLIAN = "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ ᠦᠨ ᠬᠡᠯᠡ ᠶᠢ ᠡᠳᠦᠷ ᠪᠦᠷᠢ ᠰᠤᠷᠤᠨ᠎ᠠ"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def page_at(browser: Browser, server: Server) -> Iterator[Opener]:
    with opening(browser, server.url) as opener:
        yield opener


@pytest.fixture
def page(page_at: Opener) -> Page:
    page = page_at()
    ready(page)
    return page


def ready(page: Page) -> None:
    page.wait_for_selector("body[data-ready]")


def say(page: Page, text: str) -> Locator:
    """Send a message; the reply, once it is whole."""
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")
    return replied(page)


def replied(page: Page) -> Locator:
    expect(page.locator("#stop")).to_be_hidden()
    return page.locator("article.assistant").last


def conversation(path: Path, *texts: str, system: str = "") -> Path:
    """A file as the CLI saves it, with these messages and replies."""
    messages = [{"role": "system", "content": system}] if system else []
    for at, text in enumerate(texts):
        messages.append({"role": "assistant" if at % 2 else "user", "content": text})
    document = {
        "format": "trimix-conversation",
        "version": 1,
        "trio": "demo",
        "weights": {"alpha": 0.35, "beta": 0.85},
        "messages": messages,
    }
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def load(page: Page, path: Path) -> None:
    page.set_input_files("#import-file", path)
    expect(page.locator("article").first).to_be_visible()


def endless(page: Page) -> None:
    """Let replies go on until the context is full: what the page asks for, and no end."""

    def go_on(route: Route) -> None:
        asked = json.loads(route.request.post_data or "{}")
        asked |= {"ignore_eos": True, "logit_bias": [["\n", -100]]}
        route.continue_(post_data=json.dumps(asked))

    page.route("**/chat/completions", go_on)


def test_a_reply_is_that_of_the_protocol(page: Page, http: httpx.Client) -> None:
    reply = say(page, "Open the file")
    asked = {"messages": [{"role": "user", "content": "Open the file"}]}
    said = http.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]["content"]
    assert reply.locator(".body").inner_text() == said
    assert page.locator("article.user .body").inner_text() == "Open the file"
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    expect(reply).not_to_have_attribute("aria-busy", "true")


def test_a_stream_is_shown_and_stopped(page: Page) -> None:
    endless(page)
    page.get_by_label("Message", exact=True).fill("Open the file")
    page.keyboard.press("Enter")
    reply = page.locator("article.assistant")
    expect(reply).to_have_attribute("aria-busy", "true")
    expect(reply.locator(".body span").nth(5)).to_be_attached()  # while it goes on
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text("Stopped.")
    text = replied(page).locator(".body").inner_text()
    assert text
    page.reload()
    ready(page)
    assert page.locator("article.assistant .body").inner_text() == text
    assert page.locator("article.assistant .body [class^=w-]").count() > 3


def test_regenerate_and_edit(page: Page) -> None:
    say(page, "Open the file")
    say(page, "Save the file")
    page.get_by_role("button", name="Regenerate reply 2").click()
    replied(page)
    expect(page.locator("article")).to_have_count(4)
    page.get_by_role("button", name="Edit message 1").click()
    page.get_by_label("Your message").fill("Close the window")
    page.keyboard.press("Enter")
    replied(page)
    said = page.locator("article .body").all_inner_texts()
    assert len(said) == 2
    assert said[0] == "Close the window"
    page.get_by_role("button", name="Edit reply 1").click()
    page.get_by_label("The reply").fill(UYGHUR)
    page.keyboard.press("Enter")
    page.reload()
    ready(page)
    assert page.locator("article .body").all_inner_texts() == ["Close the window", UYGHUR]


def test_where_no_reply_comes_nothing_is_lost(page_at: Opener) -> None:
    page = page_at(expected="400 (Bad Request)")
    ready(page)
    first = say(page, "Open the file").locator(".body").inner_text()
    long = "Open the file and save it. " * 200
    page.get_by_label("Message", exact=True).fill(long)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("context")
    expect(page.get_by_label("Message", exact=True)).to_have_value(long)
    page.get_by_text("Settings").click()
    page.get_by_label("System message").fill(long)
    page.get_by_role("button", name="Regenerate reply 1").click()
    expect(page.get_by_role("alert")).to_contain_text("context")
    assert replied(page).locator(".body").inner_text() == first


def test_weights(page: Page, http: httpx.Client) -> None:
    weights = http.get("/props").json()["trimix"]["weights"]
    page.get_by_text("Settings").click()
    assert page.get_by_label("α", exact=True).input_value() == str(weights["alpha"])
    page.get_by_label("α, the weight of large").fill("1")
    page.get_by_label("β, the weight of cpt").fill("0")
    expect(page.get_by_label("Weights")).to_have_value("own")
    assert page.get_by_label("β", exact=True).input_value() == "0"
    page.get_by_label("System message").fill("Translate English to Uyghur.")
    with page.expect_request("**/chat/completions") as sent:
        reply = say(page, "Open the file")
    asked = json.loads(sent.value.post_data or "")
    assert asked["trimix"] == {"weights": {"alpha": 1, "beta": 0}, "roles": True}
    assert asked["messages"][0] == {"role": "system", "content": "Translate English to Uyghur."}
    expect(reply).to_contain_text("α 1, β 0")
    page.get_by_label("Weights").select_option("ppl")
    page.get_by_label("Temperature").fill("0.5")
    page.get_by_label("Show who wrote each token").uncheck()
    with page.expect_request("**/chat/completions") as sent:
        say(page, "Save the file")
    asked = json.loads(sent.value.post_data or "")
    assert asked["trimix"] == {"weights": "ppl"}
    assert asked["temperature"] == 0.5
    assert "logprobs" not in asked
    page.reload()
    ready(page)
    assert page.get_by_label("Weights").input_value() == "ppl"


def test_saved_chats_go_both_ways(page: Page, tmp_path: Path) -> None:
    load(page, conversation(tmp_path / "in.json", "Open <b>it</b>", UYGHUR, system="Be brief."))
    assert page.get_by_label("System message").input_value() == "Be brief."
    say(page, "Save the file")
    page.get_by_text("Settings").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    path = tmp_path / "out.json"
    download.value.save_as(path)
    saved = read_chat(path)
    assert (saved.trio, saved.system) == ("demo", "Be brief.")
    assert saved.weights.numbers == (0.35, 0.85)
    assert [turn.user for turn in saved.turns] == ["Open <b>it</b>", "Save the file"]
    assert saved.turns[0].reply == UYGHUR
    again = tmp_path / "again.json"
    done = trimix("chat", "--trio", "demo", stdin=f"/load {path}\n/save {again}\n/exit\n")
    assert done.returncode == 0, done.stderr
    assert read_chat(again) == saved


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "it is no JSON"),
        ("null", '"format" is not'),
        ('{"format": "trimix-conversation", "version": 2}', "version 2 is not known"),
    ],
)
def test_a_file_that_is_no_chat(page: Page, tmp_path: Path, document: str, said: str) -> None:
    say(page, "Open the file")
    path = tmp_path / "no.json"
    path.write_text(document, encoding="utf-8")
    page.set_input_files("#import-file", path)
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.locator("article")).to_have_count(2)


def test_who_wrote_a_token(page: Page, http: httpx.Client) -> None:
    reply = say(page, "Open the file")
    asked = {
        "messages": [{"role": "user", "content": "Open the file"}],
        "logprobs": True,
        "top_logprobs": 4,
        "trimix": {"roles": True},
    }
    told = http.post("/v1/chat/completions", json=asked).json()
    token = told["choices"][0]["logprobs"]["content"][0]
    rival = token["top_logprobs"][1]
    alpha, beta = told["trimix"]["weights"].values()
    by = {"large": alpha, "cpt": beta, "base": 1 - alpha - beta}
    shares = {
        role: by[role] * (token["roles"][role]["logit"] - rival["roles"][role]["logit"])
        for role in by
    }
    # What the view is built on: the shares add up to what parts the two in the fusion.
    assert sum(shares.values()) == pytest.approx(token["logprob"] - rival["logprob"], abs=1e-3)
    wrote = max(shares, key=lambda role: shares[role])

    first = reply.locator(".body span").first
    first.hover()
    inspector = page.locator("#inspector")
    expect(inspector).to_contain_text(f"written by {wrote}")
    row = inspector.locator(".shares").inner_text().replace("−", "-").split()[2:]
    assert [float(each) for each in row] == pytest.approx(list(shares.values()), abs=0.01)
    assert first.get_attribute("class") == f"w-{wrote} chosen"
    page.keyboard.press("Escape")
    expect(inspector).to_be_hidden()

    reply.locator(".body").focus()  # by the keyboard: the next token is at the left
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    expect(reply.locator(".chosen")).to_have_text(reply.locator(".body span").nth(1).inner_text())
    expect(inspector).to_be_visible()
    expect(page.locator("#spoken")).to_contain_text(re.compile("written by .*large .*cpt .*base "))

    reply.get_by_text("Tokens").click()  # the text alternative
    rows = reply.get_by_role("region", name="Tokens").locator("tbody tr")
    expect(rows).to_have_count(len(told["choices"][0]["logprobs"]["content"]))
    expect(rows.first).to_contain_text(wrote)


def test_a_translation_is_that_of_the_protocol(page_at: Opener, http: httpx.Client) -> None:
    page = page_at("#translate")
    ready(page)
    page.get_by_label("Text", exact=True).fill("Open the file\n\nSave %s")
    page.keyboard.press("Control+Enter")
    asked = {"q": ["Open the file", "Save %s"], "source": "en", "target": "ug"}
    told = http.post("/translate", json=asked).json()
    segments = page.locator("#to-text .segment")
    expect(segments).to_have_count(2)
    assert page.locator("#to-text .segment p").all_inner_texts() == told["translatedText"]
    for at, flags in enumerate(told["flags"]):
        assert segments.nth(at).locator(".flag").count() == len(flags)
    page.get_by_role("button", name="Swap").click()
    assert page.get_by_label("From").input_value() == "ug"
    assert page.get_by_label("Text", exact=True).input_value() == "\n\n".join(
        told["translatedText"]
    )


def test_a_file_is_translated(page_at: Opener, tmp_path: Path) -> None:
    page = page_at("#translate")
    ready(page)
    path = tmp_path / "<i>me</i>ssages.po".replace("/", "")
    entries = "".join(f'\nmsgid "Save %s in {n}"\nmsgstr ""\n' for n in range(3))
    path.write_text(f'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n{entries}')
    page.get_by_label("A file to translate").set_input_files(path)
    job = page.locator(".job")
    expect(job.get_by_role("heading")).to_have_text(path.name)
    expect(job.get_by_role("progressbar")).to_have_accessible_name(f"Progress of {path.name}")
    expect(job.get_by_role("status")).to_contain_text("done")
    rows = job.locator("tbody tr")
    expect(rows).to_have_count(3)
    page.reload()
    ready(page)
    expect(rows).to_have_count(3)
    flagged = rows.locator(".flag").count()
    assert flagged >= rows.filter(has=page.locator(".flag")).count()
    with page.expect_download() as download:
        job.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename.endswith("ssages.po")
    target = tmp_path / "done.po"
    download.value.save_as(target)
    assert target.read_text(encoding="utf-8").count("msgid") == 4
    job.get_by_role("button", name="Put away").click()
    expect(job).to_have_count(0)


def test_a_file_is_dropped_and_left(page_at: Opener) -> None:
    page = page_at("#translate")
    ready(page)
    lines = "\n".join(f"Open file number {i} and save it again" for i in range(300))
    transfer = page.evaluate_handle(
        """(text) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([text], "many.txt"));
            return transfer;
        }""",
        lines,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    job = page.locator(".job")
    expect(job.get_by_role("status")).to_have_text(re.compile(r"[1-9]\d* of 300"))
    with page.expect_response(lambda response: response.request.method == "DELETE") as left:
        job.get_by_role("button", name="Cancel").click()
    assert left.value.json()["state"] == "cancelled"
    expect(job).to_have_count(0)


def test_scripts_run_as_they_should(page: Page, tmp_path: Path) -> None:
    load(page, conversation(tmp_path / "in.json", UYGHUR, TIBETAN, MONGOLIAN, "Open the file"))
    bodies = page.locator("article .body")

    def style(at: int, name: str) -> str:
        return str(bodies.nth(at).evaluate(f"each => getComputedStyle(each).{name}"))

    assert [style(at, "direction") for at in range(4)] == ["rtl", "ltr", "ltr", "ltr"]
    modes = ["horizontal-tb", "horizontal-tb", "vertical-lr", "horizontal-tb"]
    assert [style(at, "writingMode") for at in range(4)] == modes
    tags = ["ug", "bo", "mn-Mong", ""]
    assert [bodies.nth(at).get_attribute("lang") or "" for at in range(4)] == tags
    assert "Tibetan" in style(1, "fontFamily")
    field = page.get_by_label("Message", exact=True)
    for text, mode, direction in [
        ("%s " + UYGHUR, "horizontal-tb", "rtl"),  # its first letter is a Latin one
        (MONGOLIAN, "vertical-lr", "ltr"),
        (UYGHUR, "horizontal-tb", "rtl"),
    ]:
        field.fill(text)
        now = field.evaluate(
            "each => [getComputedStyle(each).writingMode, getComputedStyle(each).direction]"
        )
        assert now == [mode, direction]


def test_tibetan_lines_end_after_a_tsheg(page: Page, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    load(page, conversation(tmp_path / "in.json", TIBETAN * 3, TIBETAN))
    ends = page.locator(".user .body span").evaluate(
        """span => {
            const text = span.firstChild, range = document.createRange(), ends = [];
            let last = null;
            for (const {index, segment} of new Intl.Segmenter().segment(text.data)) {
                range.setStart(text, index);
                range.setEnd(text, index + segment.length);
                const top = range.getClientRects()[0]?.top;
                if (top === undefined) continue;
                if (last !== null && top > last + 10) ends.push(text.data[index - 1]);
                last = top;
            }
            return ends;
        }"""
    )
    assert len(ends) >= 2
    assert set(ends) <= {"་", " ", "།"}


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tokens_never_part_a_character(page: Page, data: st.DataObject) -> None:
    """However tokens cut bytes, the pieces are the reply, whole characters, with every token."""
    parts = st.sampled_from([UYGHUR, TIBETAN, MONGOLIAN, "👩‍👩‍👧 e\u0301", " ", "\r\n", "<b>"])
    content = "".join(data.draw(st.lists(parts, min_size=1, max_size=3)))
    said = ("<think>why</think>\n" + content + "\n").encode()
    cuts = data.draw(st.sets(st.integers(1, len(said) - 1), max_size=30))
    ends = [0, *sorted(cuts), len(said)]
    tokens = [
        {
            "token": said[a:b].decode("utf-8", "replace"),
            "bytes": [*said[a:b]],
            "roles": {},
            "top": [],
        }
        for a, b in itertools.pairwise(ends)
    ]
    pieces = page.evaluate(
        "async (message) => (await import('./page/tokens.js')).pieces(message)",
        {"content": content, "thought": "why", "tokens": tokens},
    )
    assert "".join(piece["text"] for piece in pieces) == content
    clusters = regex.findall(r"\X", content)
    whole = set(itertools.accumulate(clusters))
    assert set(itertools.accumulate(piece["text"] for piece in pieces)) <= whole
    inside = [token for token in tokens if token in [t for p in pieces for t in p["tokens"]]]
    shown = b"".join(bytes(token["bytes"]) for token in inside)
    assert content.encode() in shown


def test_what_is_said_is_text(page: Page, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=\"document.title='pwned'\"><script>alert(1)</script>"
    load(page, conversation(tmp_path / "in.json", hostile, hostile))
    assert page.locator("article .body").all_inner_texts() == [hostile, hostile]
    assert page.locator("article :is(img, script)").count() == 0
    assert page.title() == "TriMix-cpp"


_NAMED = {
    "button",
    "textbox",
    "combobox",
    "slider",
    "spinbutton",
    "checkbox",
    "link",
    "progressbar",
}
_CONTRAST = """() => {
    const channel = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
    const colour = (text) => text.match(/[\\d.]+/g).map(Number);
    const seen = (rgb) => luminance(rgb.slice(0, 3).map((each) => channel(each / 255)));
    const bad = [];
    for (const each of document.querySelectorAll("body *")) {
        const own = [...each.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !each.getClientRects().length || each.matches(":disabled")) continue;
        let under = each, back;
        do {
            back = colour(getComputedStyle(under).backgroundColor);
            under = under.parentElement;
        } while (back.length === 4 && back[3] === 0 && under);
        const lights = [seen(colour(getComputedStyle(each).color)), seen(back)];
        const [less, more] = lights.sort((x, y) => x - y);
        if ((more + 0.05) / (less + 0.05) < 4.5) bad.push(each.outerHTML);
    }
    return bad;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(page_at: Opener, scheme: str) -> None:
    page = page_at(color_scheme=scheme, viewport={"width": 390, "height": 800})
    ready(page)
    page.get_by_text("Settings").click()
    say(page, "Open the file").locator(".body span").first.hover()
    unnamed: list[Any] = []
    roles: set[str] = set()
    for view in ("chat", "translate"):
        if view == "translate":
            page.get_by_role("link", name="Translate").click()
            expect(page.get_by_role("button", name="Translate", exact=True)).to_be_visible()
        client = page.context.new_cdp_session(page)
        for node in client.send("Accessibility.getFullAXTree")["nodes"]:
            role = node.get("role", {}).get("value", "")
            roles.add(role)
            if role in _NAMED and not node["ignored"] and not node.get("name", {}).get("value"):
                unnamed.append(node)
        assert page.evaluate(_CONTRAST) == []
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390  # nothing sticks out on a phone
    assert unnamed == []
    assert {"banner", "main", "navigation", "log", "status", "slider"} <= roles
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.slow
def test_the_key_is_asked_for_once(browser: Browser) -> None:
    with (
        serving(*ARGUMENTS, "--api-key", "sésame") as server,
        opening(browser, server.url) as page_at,
    ):
        page = page_at(expected="401 (Unauthorized)")
        for key in ("wrong", "sésame"):
            page.get_by_label("API key").fill(key)
            page.keyboard.press("Enter")
            if key == "wrong":
                expect(page.get_by_text("The key is not right.")).to_be_visible()
        ready(page)
        assert say(page, "Open the file").locator(".body").inner_text()
        page.reload()
        ready(page)
        page.get_by_role("link", name="Translate").click()
        page.get_by_label("Text", exact=True).fill("Open the file")
        page.keyboard.press("Control+Enter")
        expect(page.locator(".segment")).to_have_count(1)
        assert page.evaluate("localStorage.length") > 0
        assert "sésame" not in page.evaluate("JSON.stringify(localStorage)")
