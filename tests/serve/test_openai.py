"""OpenAI's protocol, asked by OpenAI's own client and by hand."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from trimix_cpp.api import TriMix

SAID: list[Any] = [{"role": "user", "content": "Open the file"}]


def events(http: httpx.Client, path: str, body: dict[str, Any]) -> list[Any]:
    """The documents of a stream, and "[DONE]"."""
    with http.stream("POST", path, json={**body, "stream": True}) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    data = [line.removeprefix("data: ") for line in lines]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


def test_a_reply_is_that_of_chat(sdk: openai.OpenAI, trio: TriMix) -> None:
    reply = sdk.chat.completions.create(model="any", messages=SAID)
    with trio.chat(max_tokens=200) as chat:
        expected = chat.send("Open the file")
    assert reply.choices[0].message.content == expected.text != ""
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.object == "chat.completion"
    assert reply.model == "any"
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == expected.prompt_tokens
    assert reply.usage.completion_tokens == len(expected.token_ids)
    assert reply.model_extra is not None
    assert reply.model_extra["trimix"]["weights"] == expected.weights.as_json()


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


def test_a_completion_is_that_of_generate(sdk: openai.OpenAI, trio: TriMix) -> None:
    answer = sdk.completions.create(model="any", prompt="Save the", max_tokens=12)
    assert answer.choices[0].text == trio.generate("Save the", max_tokens=12).text
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
