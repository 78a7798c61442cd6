"""The messages of a chat: what clients write, as a chat template takes it."""

from __future__ import annotations

from collections.abc import Sequence

from ..chat import checked
from ..errors import TrimixError
from ..runtime import shown
from .errors import RequestError
from .requests import ChatAsked

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def messages_of(asked: ChatAsked) -> list[dict[str, str]]:
    """The messages, each with role and content, a text; an empty last reply is none.

    Raises:
        RequestError: there are none, or one is not what a template can be given.
    """
    _refuse_tools(asked)
    messages = [_message(said, f"messages[{at}]") for at, said in enumerate(asked.messages)]
    if messages and messages[-1] == {"role": "assistant", "content": ""}:
        messages.pop()
    if not messages:
        raise RequestError("messages is empty", param="messages")
    if [message["role"] for message in messages[-2:]] == ["assistant", "assistant"]:
        raise RequestError("messages ends with two replies", param="messages")
    return messages


def _message(said: object, where: str) -> dict[str, str]:
    if not isinstance(said, dict):
        raise RequestError(f"{where} is no object with role and content", param=where)
    role = said.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        known = ", ".join(_ROLES)
        raise RequestError(f"{where}: the role {shown(role)} is none of {known}", param=where)
    if said.get("tool_calls"):
        raise RequestError(f"{where}: tools are not supported", param=where)
    if "content" not in said and role != "assistant":
        raise RequestError(f"{where} has no content", param=where)
    try:
        text = checked(_text(said.get("content"), f"{where}.content"))
    except RequestError:
        raise
    except TrimixError as error:
        raise RequestError(f"{where}: {error}", param=where) from None
    return {"role": _ROLES[role], "content": text}


def _text(content: object, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RequestError(f"{where} is neither a text nor a list of parts", param=where)
    return "".join(_part(part, f"{where}[{at}]") for at, part in enumerate(content))


def _part(part: object, where: str) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get("text") if isinstance(part, dict) else None
    if kind == "text" and isinstance(text, str):
        return text
    what = "a text part without a text" if kind == "text" else f"a part of type {shown(kind)}"
    raise RequestError(f"{where}: {what}; the models read text alone", param=where)


def _refuse_tools(asked: ChatAsked) -> None:
    if (asked.tools or asked.functions) and asked.tool_choice != "none":
        raise RequestError("tools are not supported; leave them out", param="tools")
    kind = (asked.response_format or {}).get("type")
    if kind not in (None, "text"):
        raise RequestError(
            f"response_format {shown(kind)} is not supported; it is text", param="response_format"
        )


def wants_thinking(asked: ChatAsked) -> bool:
    """Whether a model that can think is told to."""
    return bool((asked.chat_template_kwargs or {}).get("enable_thinking"))


def split_reply(messages: Sequence[dict[str, str]]) -> tuple[list[dict[str, str]], str]:
    """The messages up to the reply that is asked for, and how it begins if the client says."""
    *before, last = messages
    if last["role"] == "assistant" and before:
        return before, last["content"]
    return list(messages), ""
