"""What a request asks for, without a server: templates that refuse, weights that choose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trimix_cpp
from trimix_cpp.fusion import AnswersChooser
from trimix_cpp.runtime import DecodingFlags
from trimix_cpp.serve.errors import RequestError, error_document
from trimix_cpp.serve.generation import chat_plan
from trimix_cpp.serve.requests import ChatAsked, read
from trimix_cpp.serve.trios import Answers, Loaded

from ..support.tiny import write_tiny_model

STRICT = (
    "{%- for message in messages -%}"
    "{%- if message.role == 'system' -%}{{ raise_exception('System role not supported') }}"
    "{%- elif loop.index0 % 2 != (message.role == 'assistant') -%}"
    "{{ raise_exception('Roles must alternate') }}{%- endif -%}"
    "[{{ message.role }}] {{ message.content }}\n{%- endfor -%}[assistant] "
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    path = write_tiny_model(
        tmp_path_factory.mktemp("strict") / "large.gguf", chat_template=STRICT, n_ctx=256
    )
    with (
        trimix_cpp.load(large=path, cpt=path, base=path, n_threads=1, n_ctx=256) as trio,
        Loaded(trio, Answers()) as loaded,
    ):
        yield loaded


def plan(loaded: Loaded, said: list[tuple[str, str]], **more: Any) -> Any:
    import json

    messages = [{"role": role, "content": content} for role, content in said]
    asked = read(json.dumps({"messages": messages, **more}).encode(), ChatAsked)
    return chat_plan(loaded, DecodingFlags(), asked, "large")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([("system", "a"), ("user", "b")], "System role not supported"),
        ([("developer", "a"), ("user", "b")], "System role not supported"),
        ([("user", "a"), ("user", "b")], "Roles must alternate"),
        ([("assistant", "a"), ("user", "b")], "Roles must alternate"),
    ],
)
def test_a_template_refuses_in_its_own_words(
    loaded: Loaded, said: list[tuple[str, str]], words: str
) -> None:
    with pytest.raises(RequestError, match=words) as caught:
        plan(loaded, said)
    assert error_document(caught.value)["error"]["code"] == 400
    assert plan(loaded, [("user", "a")]).rendered == "[user] a[assistant] "  # and goes on


def test_earlier_replies_choose_the_weights(loaded: Loaded) -> None:
    said = [("user", "one"), ("assistant", "two words"), ("user", "three")]
    made = plan(loaded, said, trimix={"weights": "ppl-answers"})
    (text,) = made.texts
    assert isinstance(text.chooser, AnswersChooser)
    ((start, end),) = text.chooser.spans
    assert "two words" in loaded.text_of(text.tokens[start:end])


def test_a_chooser_looks_at_what_is_new(loaded: Loaded) -> None:
    first = plan(loaded, [("user", "one")], trimix={"weights": "ppl"})
    assert first.texts[0].chooser.first(9) == 0
    from trimix_cpp.chat import Answered

    tokens = [*first.texts[0].tokens, *loaded.trimix.trio.tokenize("two")]
    loaded.answers.add(Answered(first.rendered, tokens, first.texts[0].n_prompt))
    said = [("user", "one"), ("assistant", "two"), ("user", "three")]
    second = plan(loaded, said, trimix={"weights": "ppl"})
    assert second.texts[0].tokens[: len(tokens)] == tokens
    assert second.texts[0].chooser.first(99) == len(tokens) - 1


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    from trimix_cpp.chat import Answered

    answers = Answers()
    for i in range(1000):
        answers.add(Answered(f"{i}:", [i], 1))
    assert answers.find("5: more") is None
    found = answers.find("999: more")
    assert found is not None
    assert found.tokens == [999]
