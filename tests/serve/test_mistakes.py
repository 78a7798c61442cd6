"""A client's mistake is told in OpenAI's shape, by 400, whatever it is."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ..support.examples import examples

CHAT, RAW = "/v1/chat/completions", "/v1/completions"
SAID = [{"role": "user", "content": "Open"}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def refusal(http: httpx.Client, path: str, **body: Any) -> Any:
    answer = http.post(path, json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error.keys() >= {"message", "type", "param", "code"}
    assert error["code"] == 400
    assert "\n" not in error["message"]
    return error


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages is empty"),
        ({"messages": "Open"}, "messages"),
        ({"messages": [[SAID[0]]]}, "messages[0] is no object"),
        ({"messages": [{"role": "user"}]}, "has no content"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "'robot' is none of"),
        ({"messages": [{"role": ["user"], "content": "a"}]}, "is none of"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "type 'image_url'"),
        ({"messages": [{"role": "user", "content": [{"type": "input_text"}]}]}, "'input_text'"),
        ({"messages": [{"role": "user", "content": 5}]}, "neither a text nor a list"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, ""),
        ({"messages": SAID, "tools": [{"type": "function"}]}, "tools are not supported"),
        ({"messages": SAID, "response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": SAID, "temperature": "hot"}, "temperature"),
        ({"messages": SAID, "temperature": -1}, "temperature"),
        ({"messages": SAID, "top_p": 2}, "top_p"),
        ({"messages": SAID, "n": 0}, "n:"),
        ({"messages": SAID, "n": 10**9}, "n:"),
        ({"messages": SAID, "max_tokens": -2}, "max_tokens"),
        ({"messages": SAID, "max_tokens": 10**12}, "max_tokens"),
        ({"messages": SAID, "top_logprobs": 3}, "top_logprobs goes with logprobs"),
        ({"messages": SAID, "logit_bias": {"99999999": 1}}, "none of the vocabulary"),
        ({"messages": SAID, "stop": ["a"] * 65}, "stop"),
        ({"messages": SAID, "stop": 5}, "stop"),
        ({"messages": SAID, "stream_options": 5}, "stream_options"),
        ({"messages": SAID, "trimix": {"weights": "much"}}, "weights"),
        ({"messages": SAID, "trimix": {"weights": [1]}}, "weights"),
        ({"messages": SAID, "trimix": {"weights": "0.1,0.9,0.5"}}, "large_base"),
        ({"messages": SAID, "trimix": {"method": "magic"}}, "magic"),
        ({"messages": SAID, "trimix": {"control": "cpt"}}, "control"),
    ],
)
def test_chats(http: httpx.Client, body: dict[str, Any], said: str) -> None:
    if said:
        assert said in refusal(http, CHAT, **body)["message"]
    else:
        raw = b'{"messages":[{"role":"user","content":"\\ud800"}]}'
        assert http.post(CHAT, content=raw).status_code == 400


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": []}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [10**30]}, "token"),
        ({"prompt": [-1]}, "token"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "best_of": 5}, "best_of"),
        ({"prompt": "a", "logprobs": 1000}, "logprobs"),
        ({"prompt": "a", "echo": True, "logprobs": 1, "trimix": {"weights": "ppl"}}, "fixed"),
        ({"prompt": "a", "trimix": {"weights": "ppl-answers"}}, "answers"),
    ],
)
def test_completions(http: httpx.Client, body: dict[str, Any], said: str) -> None:
    assert said in refusal(http, RAW, **body)["message"]


def test_a_prompt_that_is_too_long(http: httpx.Client, sdk: openai.OpenAI) -> None:
    long = "word " * 2000
    for path, body in (
        (RAW, {"prompt": long}),
        (CHAT, {"messages": [{**SAID[0], "content": long}]}),
    ):
        error = refusal(http, path, **body)
        assert error["type"] == "exceed_context_size_error"
        assert error["n_ctx"] == 512 < error["n_prompt_tokens"]
    with pytest.raises(openai.BadRequestError, match="context holds 512"):
        sdk.completions.create(model="any", prompt=long, stream=True)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"a"', b"\xff\xfe", b"[" * 100_000, b'{"messages": NaN}',
     b'{"a":' * 20_000, b'{"messages":[],"messages":5}', b"{}" * 2],
)  # fmt: skip
@pytest.mark.parametrize("path", [CHAT, RAW, "/tokenize", "/detokenize"])
def test_what_is_no_json(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)  # fmt: skip
FIELDS = [
    "messages", "prompt", "max_tokens", "temperature", "top_p", "top_k", "min_p", "seed", "stop",
    "n", "stream", "stream_options", "logit_bias", "trimix", "logprobs", "top_logprobs", "echo",
    "tools", "tool_choice", "response_format", "chat_template_kwargs", "model", "best_of", "user",
]  # fmt: skip


@settings(max_examples=examples(40))
@given(body=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4), raw=st.booleans())
def test_anything_is_answered(http: httpx.Client, body: dict[str, Any], raw: bool) -> None:
    """Never 422, 500, or a closed connection."""
    good: dict[str, Any] = (
        {"max_tokens": 1, "prompt": "a"} if raw else {"messages": SAID, "max_tokens": 1}
    )
    answer = http.post(RAW if raw else CHAT, json={**good, **body, "n": None})
    assert answer.status_code in (200, 400), answer.text


def test_what_clients_send_that_breaks_strict_servers(http: httpx.Client) -> None:
    names = ["temperature", "top_p", "top_k", "min_p", "seed", "stop", "n", "stream", "logit_bias",
             "max_tokens", "stream_options", "tools", "tool_choice", "functions", "response_format",
             "logprobs", "top_logprobs", "trimix", "user", "metadata", "penalty"]  # fmt: skip
    parts = [{"type": "text", "text": "Op"}, {"type": "text", "text": "en"}]
    plain = {"messages": SAID, "max_completion_tokens": 2, "temperature": 0}
    expected = http.post(CHAT, json=plain).json()["choices"][0]["message"]["content"]
    for body in (
        {**dict.fromkeys(names), **plain},
        {**plain, "messages": [{"role": "user", "content": parts}]},
        {**plain, "messages": [*SAID, {"role": "assistant", "content": ""}]},
        {**plain, "messages": [*SAID, {"role": "assistant", "content": None}]},
        {**plain, "messages": [*SAID, {"role": "assistant"}]},
        {**plain, "tools": [], "tool_choice": "auto", "store": True, "reasoning_effort": "low"},
        {**plain, "max_tokens": 100},
        {**plain, "stop": [], "temperature": "0"},
        {**plain, "tools": [{"type": "function"}], "tool_choice": "none"},
    ):
        answer = http.post(CHAT, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"] == expected
