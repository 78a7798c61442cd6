"""A conversation's file: JSON, written whole or not at all, checked when it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import TrimixError
from ..files import check_destination, check_regular, parse_json, read_text, write_json
from ..fusion import Weights

_FORMAT = "trimix-conversation"
_VERSION = 1


@dataclass
class Turn:
    """What the user said, and the reply so far; what was thought before it is not saved."""

    user: str
    reply: str = ""
    thought: str = ""


@dataclass(frozen=True)
class SavedChat:
    """What a file holds: the trio's name, the weights, the system message or None, the turns."""

    trio: str
    weights: Weights
    system: str | None
    turns: list[Turn]


def write_chat(path: Path, chat: SavedChat) -> None:
    """Write `chat` to `path`, which only its owner may read.

    The text goes to a temporary name in the same folder, is flushed, then renamed: interrupted at
    any time, the file is the old one or the new one.

    Raises:
        TrimixError: it cannot be written, or `path` is there and is not a saved conversation.
    """
    check_destination(
        path, ours=_is_chat, advice="it is not a saved conversation; choose another name"
    )
    try:
        write_json(_document(chat), path, private=True)
    except OSError as error:
        raise TrimixError(f"{path}: cannot be written: {error.strerror or error}") from None


def _is_chat(path: Path) -> bool:
    try:
        read_chat(path)
    except TrimixError:
        return False
    return True


def read_chat(path: Path) -> SavedChat:
    """Read a file that `write_chat` wrote.

    Raises:
        TrimixError: it is missing, or not a saved conversation.
    """
    check_regular(path, piped=True)
    text = read_text(path)
    try:
        return _checked(parse_json(text, "it"))
    except (ValueError, OverflowError, TrimixError) as error:
        why = str(error).removeprefix("it: ")
        raise TrimixError(f"{path}: is not a saved conversation: {why}") from None


def _document(chat: SavedChat) -> dict[str, Any]:
    messages = [] if chat.system is None else [{"role": "system", "content": chat.system}]
    for turn in chat.turns:
        messages.append({"role": "user", "content": turn.user})
        messages.append({"role": "assistant", "content": turn.reply})
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "program": f"trimix-cpp {__version__}",
        "trio": chat.trio,
        "weights": chat.weights.as_json(),
        "messages": messages,
    }


def _checked(document: Any) -> SavedChat:
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise ValueError(f'"format" is not "{_FORMAT}"')
    if document.get("version") != _VERSION:
        raise ValueError(f"version {document.get('version')!r} is not known, {_VERSION} is")
    system, turns = _turns(document.get("messages"))
    trio = document.get("trio")
    if not isinstance(trio, str):
        raise ValueError('"trio" is not a name')
    return SavedChat(trio, Weights.of(document.get("weights")), system, turns)


def _turns(messages: Any) -> tuple[str | None, list[Turn]]:
    if not isinstance(messages, list):
        raise ValueError('"messages" is not a list')
    said = [_message(message) for message in messages]
    system = said.pop(0)[1] if said and said[0][0] == "system" else None
    if [role for role, _ in said] != ["user", "assistant"] * (len(said) // 2):
        raise ValueError("messages do not alternate between user and assistant")
    texts = [text for _, text in said]
    return system, [Turn(*pair) for pair in zip(texts[::2], texts[1::2], strict=True)]


def _message(message: Any) -> tuple[str, str]:
    if not isinstance(message, dict):
        raise ValueError("a message is not an object")
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not isinstance(content, str):
        raise ValueError("a message lacks its role or content")
    content.encode("utf-8")  # JSON can spell half of a surrogate pair
    return role, content
