"""Prompts in files: one a line, one a paragraph, or JSONL with references."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import TrimixError

Format = Literal["lines", "paragraphs", "jsonl"]


@dataclass(frozen=True)
class Example:
    """One prompt.

    Attributes:
        prompt: its text, as the models get it.
        line: the line of the file where it begins, from 1.
        reference: the right answer, where the file has one.
    """

    prompt: str
    line: int
    reference: str | None = None


def parse_examples(text: str, format: Format, name: str) -> list[Example]:
    """The prompts of a file's text, in its order.

    Blank lines between prompts mean nothing. Spaces at the end of a prompt do: they stay.

    Raises:
        TrimixError: no prompt at all, or a line of JSONL that is not as it must be; `name` and the
            line are named.
    """
    # Not splitlines: U+2028 and its like are characters of a prompt.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if format == "jsonl":
        found = [_from_json(line, i, name) for i, line in enumerate(lines, 1) if line.strip()]
    elif format == "paragraphs":
        found = _paragraphs(lines)
    else:
        found = [Example(line, i) for i, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise TrimixError(f"{name}: there is no prompt in it")
    return found


def sample(examples: Sequence[Example], n: int, seed: int) -> list[Example]:
    """`n` different examples (all, if there are fewer), drawn by `seed`, in the file's order."""
    if n >= len(examples):
        return list(examples)
    return [examples[i] for i in sorted(random.Random(seed).sample(range(len(examples)), n))]


def _paragraphs(lines: Sequence[str]) -> list[Example]:
    found: list[Example] = []
    begun: list[str] = []
    for i, line in enumerate([*lines, ""], 1):
        if line.strip():
            begun.append(line)
        elif begun:
            found.append(Example("\n".join(begun), i - len(begun)))
            begun = []
    return found


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _from_json(line: str, number: int, name: str) -> Example:
    where = f"{name}: line {number}"
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        raise TrimixError(
            f'{where} is not JSON; a line is such as {{"prompt": "…", "reference": "…"}}'
        ) from None
    if not isinstance(data, dict) or "prompt" not in data:
        raise TrimixError(f'{where} has no "prompt"')
    for key in ("prompt", "reference"):
        value = data.get(key)
        if key == "reference" and value is None:
            continue
        if not isinstance(value, str):
            raise TrimixError(f'{where}: "{key}" is not a text')
        if _LONE_SURROGATE.search(value):
            raise TrimixError(f'{where}: "{key}" has half of a character (a lone \\ud800 escape)')
    if not data["prompt"].strip():
        raise TrimixError(f'{where}: "prompt" is empty')
    return Example(data["prompt"], number, data.get("reference"))
