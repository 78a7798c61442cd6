"""OpenAI's protocol, asked by OpenAI's own client and by hand."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
import regex

from trimix_cpp.store.trios import find_trio

from .exact_trio import ExactTrio

SAID: list[Any] = [{"role": "user", "content": "Open the file"}]


def events(http: httpx.Client, path: str, body: dict[str, Any]) -> list[Any]:
    """The documents of a stream, and "[DONE]"."""
    with http.stream("POST", path, json={**body, "stream": True}) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    data = [line.removeprefix("data: ") for line in lines]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


def test_a_reply_is_that_of_chat(sdk: openai.OpenAI, trio: ExactTrio) -> None:
    reply = sdk.chat.completions.create(model="any", messages=SAID)
    (expected,) = trio.replies(["Open the file"], max_tokens=200)
    assert reply.choices[0].message.content == expected["text"] != ""
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.object == "chat.completion"
    assert reply.model == "any"
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == expected["prompt_tokens"]
    assert reply.usage.completion_tokens == expected["tokens"]
    assert reply.model_extra is not None
    assert reply.model_extra["trimix"]["weights"] == expected["weights"]


def test_a_stream_gives_the_same_text(sdk: openai.OpenAI) -> None:
    whole = sdk.chat.completions.create(model="any", messages=SAID)
    chunks = list(sdk.chat.completions.create(model="any", messages=SAID, stream=True))
    assert len(chunks) > 3
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks[-2:]] == [None, "stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_comes_last_and_only_if_asked(http: httpx.Client) -> None:
    body = {"messages": SAID, "max_tokens": 3}
    silent = events(http, "/v1/chat/completions", {**body, "stream_options": {}})
    assert silent[-1] == "[DONE]"
    assert all(each["choices"] for each in silent[:-1])
    told = events(http, "/v1/chat/completions", {**body, "stream_options": {"include_usage": True}})
    assert told[-2]["choices"] == []
    assert told[-2]["usage"]["completion_tokens"] == 3
    assert told[-3]["choices"][0]["delta"] == {}


def test_a_completion_is_that_of_generate(sdk: openai.OpenAI, trio: ExactTrio) -> None:
    answer = sdk.completions.create(model="any", prompt="Save the", max_tokens=12)
    assert answer.choices[0].text == trio.generate("Save the", max_tokens=12)
    assert answer.choices[0].finish_reason == "length"
    pieces = sdk.completions.create(model="any", prompt="Save the", max_tokens=12, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == answer.choices[0].text


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_addresses(http: httpx.Client, prefix: str) -> None:
    listed = http.get(f"{prefix}/models").json()
    assert [each["object"] for each in listed["data"]] == ["model"]
    assert http.get(f"{prefix}/health").json() == {"status": "ok"}
    missing = http.post(f"{prefix}/moderations", json={})
    assert missing.status_code == 404
    assert missing.json()["error"]["type"] == "not_found_error"


def test_ten_turns_are_those_of_chat_and_only_new_tokens_are_read(
    sdk: openai.OpenAI, trio: ExactTrio
) -> None:
    said: list[Any] = [{"role": "developer", "content": "Be brief."}]
    texts = [f"Open file {turn}" for turn in range(10)]
    known = 0
    for text, expected in zip(
        texts, trio.replies(texts, system="Be brief.", max_tokens=200), strict=True
    ):
        said.append({"role": "user", "content": [{"type": "text", "text": text}]})
        reply = sdk.chat.completions.create(model="any", messages=said)
        assert reply.choices[0].message.content == expected["text"]
        said.append({"role": "assistant", "content": reply.choices[0].message.content})
        assert reply.usage is not None
        assert reply.usage.prompt_tokens_details is not None
        assert (reply.usage.prompt_tokens_details.cached_tokens or 0) >= known
        # Of what was said and answered the last token alone may have to be read again.
        known = reply.usage.prompt_tokens + reply.usage.completion_tokens - 2


def test_whatever_runs_besides_the_text_is_the_same(sdk: openai.OpenAI, trio: ExactTrio) -> None:
    ways: list[dict[str, Any]] = [
        {"prompt": "Save the", "weights": "0.3,0.9"},
        {"prompt": "Open", "weights": "1,0"},
        {"prompt": "Save the", "weights": "ppl"},
        {"prompt": "ھۆججەت", "weights": "0,1"},
        {"prompt": "Open the", "weights": "0.7,0.5", "temperature": 0.9, "seed": 7},
        {"prompt": "Close", "weights": "0.7,0.5", "temperature": 0.9, "seed": 8},
    ] * 2

    def ask(way: dict[str, Any]) -> str:
        rest = {key: value for key, value in way.items() if key != "weights"}
        extra = {"trimix": {"weights": way["weights"]}}
        answer = sdk.completions.create(model="any", max_tokens=16, extra_body=extra, **rest)
        return answer.choices[0].text

    with ThreadPoolExecutor(len(ways)) as pool:
        texts = list(pool.map(ask, ways))
    assert texts == [trio.generate(max_tokens=16, **way) for way in ways]


def test_what_is_asked_beyond_the_protocol(http: httpx.Client) -> None:
    body: dict[str, Any] = {"messages": SAID, "max_tokens": 2}
    told = http.post("/v1/chat/completions", json=body).json()["trimix"]
    assert (told["method"], told["control"]) == ("trimix", "large")
    extra = {"weights": [0.25, 0.75], "control": "fused"}
    told = http.post("/v1/chat/completions", json={**body, "trimix": extra}).json()["trimix"]
    assert told["weights"] == {"alpha": 0.25, "beta": 0.75}
    assert told["control"] == "fused"
    extra = {"method": "cpt"}
    told = http.post("/v1/chat/completions", json={**body, "trimix": extra}).json()["trimix"]
    assert (told["weights"], told["method"]) == ({"alpha": 0.0, "beta": 1.0}, "cpt")
    extra = {"weights": "ppl"}
    chunks = events(http, "/v1/chat/completions", {**body, "trimix": extra})
    assert chunks[-2]["trimix"]["weights"].keys() == {"alpha", "beta"}


def test_seeds_and_choices(http: httpx.Client) -> None:
    body = {"prompt": "Open", "max_tokens": 8, "temperature": 1.5, "seed": 3, "n": 3}
    answer = http.post("/v1/completions", json=body).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    texts = [choice["text"] for choice in answer["choices"]]
    assert len(set(texts)) > 1
    assert answer["usage"]["completion_tokens"] > 3
    alone = http.post("/v1/completions", json={**body, "n": 1, "seed": 4}).json()
    assert alone["choices"][0]["text"] == texts[1]
    pieces: dict[int, str] = {}
    for chunk in events(http, "/v1/completions", body)[:-1]:
        for choice in chunk["choices"]:
            pieces[choice["index"]] = pieces.get(choice["index"], "") + choice["text"]
    assert [pieces[index] for index in range(3)] == texts


def test_several_prompts_and_tokens(http: httpx.Client) -> None:
    ids = http.post("/tokenize", json={"content": "Save the"}).json()["tokens"]
    assert http.post("/detokenize", json={"tokens": ids}).json()["content"] == "Save the"
    body = {"max_tokens": 4}
    one = http.post("/v1/completions", json={**body, "prompt": "Save the"}).json()
    two = http.post("/v1/completions", json={**body, "prompt": [ids, ids]}).json()
    assert [each["text"] for each in two["choices"]] == [one["choices"][0]["text"]] * 2
    assert two["usage"]["prompt_tokens"] == 2 * one["usage"]["prompt_tokens"] == 2 * len(ids)


def test_a_bias_keeps_a_token_away(http: httpx.Client) -> None:
    body: dict[str, Any] = {"prompt": "Save the", "max_tokens": 1, "logprobs": 0}
    first = http.post("/v1/completions", json=body).json()["choices"][0]
    (token,) = http.post("/tokenize", json={"content": first["text"]}).json()["tokens"]
    for bias in ({str(token): -100}, [[token, -100]], {first["text"]: -100}):
        other = http.post("/v1/completions", json={**body, "logit_bias": bias}).json()["choices"][0]
        assert other["text"] != first["text"]


def test_a_reply_goes_on_where_the_client_began_it(http: httpx.Client) -> None:
    body = {"messages": SAID, "max_tokens": 12}
    whole = http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    begun = whole[: whole.index(" ")]
    said = [*SAID, {"role": "assistant", "content": begun}]
    rest = http.post("/v1/chat/completions", json={**body, "messages": said}).json()
    assert begun + rest["choices"][0]["message"]["content"] == whole


def test_names_of_control_tokens_are_text(http: httpx.Client) -> None:
    said = [{"role": "user", "content": "Open<|im_end|>\n"}]
    named = http.post("/v1/chat/completions", json={"messages": said, "max_tokens": 1}).json()
    said = [{"role": "user", "content": "Open\n"}]
    plain = http.post("/v1/chat/completions", json={"messages": said, "max_tokens": 1}).json()
    assert named["usage"]["prompt_tokens"] > plain["usage"]["prompt_tokens"] + 1


def test_only_whole_characters_come(http: httpx.Client) -> None:
    for prompt in ("བོད་", "😀", "ئۇ"):
        body = {"prompt": prompt, "max_tokens": 24, "temperature": 1.5, "seed": 5}
        pieces = [
            chunk["choices"][0]["text"]
            for chunk in events(http, "/v1/completions", body)[:-1]
            if chunk["choices"]
        ]
        assert "\ufffd" not in "".join(pieces)
        whole = http.post("/v1/completions", json=body).json()["choices"][0]["text"]
        assert "".join(pieces) == whole
        assert [len(clusters(piece)) for piece in pieces if piece]
        assert sum(len(clusters(piece)) for piece in pieces) == len(clusters(whole))


def clusters(text: str) -> list[str]:
    return regex.findall(r"\X", text)


def test_stops_end_a_text_and_are_no_part_of_it(http: httpx.Client) -> None:
    body: dict[str, Any] = {"prompt": "Save the", "max_tokens": 12}
    whole = http.post("/v1/completions", json=body).json()["choices"][0]["text"]
    stop = whole[3:5]
    for said in (stop, [stop], ["", None, stop]):
        answer = http.post("/v1/completions", json={**body, "stop": said}).json()["choices"][0]
        assert answer["text"] == whole[: whole.index(stop)]
        assert answer["finish_reason"] == "stop"


def test_logprobs_of_an_echoed_prompt_are_those_of_score(
    http: httpx.Client, trio: ExactTrio
) -> None:
    text = "Save the file"
    body = {"prompt": text, "echo": True, "logprobs": 3, "max_tokens": 0}
    choice = http.post("/v1/completions", json=body).json()["choices"][0]
    assert choice["text"] == text
    told = choice["logprobs"]
    assert "".join(told["tokens"]) == text
    assert told["token_logprobs"][0] is told["top_logprobs"][0] is None
    for at, token in zip(told["text_offset"], told["tokens"], strict=True):
        assert text[at:].startswith(token)
    n_first = len(told["tokens"][0])
    score = trio.score(text[:n_first], text[n_first:])
    assert told["token_logprobs"][1:] == pytest.approx(score["logprobs"])
    for value, top in zip(told["token_logprobs"][1:], told["top_logprobs"][1:], strict=True):
        assert len(top) <= 3
        assert value <= max(top.values()) + 1e-9


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_of_a_reply(http: httpx.Client, stream: bool) -> None:
    body: dict[str, Any] = {
        "messages": SAID, "logprobs": True, "top_logprobs": 2, "trimix": {"roles": True},
        "max_tokens": 5,
    }  # fmt: skip
    if stream:
        chunks = events(http, "/v1/chat/completions", body)[:-1]
        shown = [chunk["choices"][0].get("logprobs") for chunk in chunks]
        content = [each for told in shown if told for each in told["content"]]
    else:
        answer = http.post("/v1/chat/completions", json=body).json()["choices"][0]
        content = answer["logprobs"]["content"]
        text = b"".join(bytes(each["bytes"]) for each in content).decode()
        assert text.startswith(answer["message"]["content"])
    assert 3 <= len(content) <= 5
    for each in content:
        assert each["logprob"] == each["top_logprobs"][0]["logprob"] <= 0  # greedy
        assert bytes(each["bytes"]).decode("utf-8", "replace") == each["token"]
        # Eq. 5: the fused logits are the roles', so differences of log-probabilities are too.
        first, second = each["top_logprobs"]
        fused = sum(
            weight * (first["roles"][role]["logit"] - second["roles"][role]["logit"])
            for role, weight in find_trio("demo").weights.coefficients.items()
        )
        assert first["logprob"] - second["logprob"] == pytest.approx(fused, abs=1e-3)
        assert each["roles"].keys() == {"large", "cpt", "base"}
