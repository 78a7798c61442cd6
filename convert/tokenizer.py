"""What every kind of tokenizer has in common: its files, special tokens, and chat template.

The entries are those of gguf-py's `SpecialVocab`, read here from the files alone, without
transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

from trimix_cpp.errors import TrimixError
from trimix_cpp.files import read_text

from .checkpoint import Config, read_json, shown

SPECIAL_KINDS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
# Marked as ordinary by some tokenizers, though printed as text they would do harm
# (`does_token_look_special` in llama.cpp's `conversion/base.py`).
_LOOKS_SPECIAL = ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
_LOOKS_SPECIAL_AFFIXES = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))


@dataclass(frozen=True)
class AddedToken:
    """A token that the tokenizer finds in the text before its model sees it."""

    content: str
    special: bool

    @property
    def type(self) -> TokenType:
        """CONTROL for what is no text, USER_DEFINED for the rest."""
        text = self.content
        control = self.special or text in _LOOKS_SPECIAL
        for start, end in _LOOKS_SPECIAL_AFFIXES:
            control = control or (text.startswith(start) and text.endswith(end))
        return TokenType.CONTROL if control else TokenType.USER_DEFINED

    @property
    def text(self) -> str:
        """User-defined tokens are matched against plain text, so SentencePiece's space goes."""
        spaced = self.type == TokenType.USER_DEFINED
        return self.content.replace("\u2581", " ") if spaced else self.content


@dataclass(frozen=True)
class TokenizerFiles:
    """The contents of a checkpoint's `tokenizer.json` (`data`) and `tokenizer_config.json`.

    `data` is empty where there is no `tokenizer.json`.
    """

    folder: Path
    path: Path
    data: dict[str, Any]
    settings: dict[str, Any]

    @property
    def byte_fallback(self) -> bool:
        """Whether this is SentencePiece's BPE: characters, and single bytes for unknown ones."""
        model = self.data.get("model")
        return isinstance(model, dict) and bool(model.get("byte_fallback"))


def open_tokenizer(folder: Path) -> TokenizerFiles:
    """Read the tokenizer's files in `folder`; without tokenizer.json, tokenizer.model must do.

    Raises:
        TrimixError: there is no tokenizer, or a file is malformed.
    """
    path = folder / "tokenizer.json"
    data = read_json(path, optional=(folder / "tokenizer.model").is_file())
    return TokenizerFiles(
        folder, path, data, read_json(folder / "tokenizer_config.json", optional=True)
    )


def added_tokens(files: TokenizerFiles) -> dict[int, AddedToken]:
    """Added tokens by id; like transformers, `tokenizer_config.json` has the last word on them."""
    entries = [(int(e["id"]), e) for e in files.data.get("added_tokens") or []]
    decoder = files.settings.get("added_tokens_decoder") or {}
    entries += [(int(key), e) for key, e in decoder.items()]
    added: dict[int, AddedToken] = {}
    for token_id, entry in entries:
        token = AddedToken(str(entry["content"]), bool(entry.get("special", False)))
        if token_id in added and added[token_id].content != token.content:
            raise TrimixError(
                f"{files.path} and tokenizer_config.json disagree about token {token_id}: "
                f"{added[token_id].content!r} and {token.content!r}"
            )
        added[token_id] = token
    return added


@dataclass(frozen=True)
class Specials:
    """What follows the tokens in `tokenizer.*`: ids by kind, what is added, the chat template."""

    ids: dict[str, int]
    add: dict[str, bool]
    chat_template: str | list[dict[str, str]] | None

    def write(self, writer: GGUFWriter) -> None:
        """Add the metadata to `writer`, in the order of llama.cpp's converter."""
        for kind, token_id in self.ids.items():
            # As llama.cpp's converter: a kind that gguf has no key for is left out.
            if add_id := getattr(writer, f"add_{kind}_token_id", None):
                add_id(token_id)
        for kind, add in self.add.items():
            getattr(writer, f"add_add_{kind}_token")(add)
        if self.chat_template is not None:
            writer.add_chat_template(self.chat_template)


def specials(files: TokenizerFiles, config: Config, size: int | None = None) -> Specials:
    """Read the special tokens of a checkpoint; ids from `size` on are left out.

    The post-processor's template decides what is added to a text, then the settings.
    """
    names = _names(files.settings)
    add: dict[str, bool] = {}
    post = files.data.get("post_processor") or {}
    for step in post.get("processors", [post]):
        if step.get("type") == "ByteLevel":
            add.setdefault("bos", False)
            add.setdefault("eos", False)
        elif step.get("type") == "TemplateProcessing":
            _read_template(step, names, add)
    for kind in ("bos", "eos", "sep"):
        wish = files.settings.get(f"add_{kind}_token")
        if isinstance(wish, bool):
            add.setdefault(kind, wish)
    ids = _special_ids(files, names, config)
    kept = {kind: i for kind, i in ids.items() if size is None or i < size}
    return Specials(kept, add, _chat_template(files.folder, files.settings))


def _names(settings: dict[str, Any]) -> dict[str, str]:
    """Special tokens by kind, as `tokenizer_config.json` names them."""
    names = {}
    for kind in SPECIAL_KINDS:
        text = settings.get(f"{kind}_token")
        text = text.get("content") if isinstance(text, dict) else text
        if isinstance(text, str):
            names[kind] = text
    return names


def _read_template(step: dict[str, Any], names: dict[str, str], add: dict[str, bool]) -> None:
    """Enter into `names` and `add` what a template puts around one text and between two."""
    single, pair = step.get("single") or [], step.get("pair") or []
    first = _special(single[0]) if len(single) > 1 else None
    last = _special(single[-1]) if len(single) > 1 else None
    if first:
        if first not in (names.get("bos"), names.get("cls")):
            names.setdefault("bos", first)
            names.setdefault("cls", first)
        add["bos"] = first in (names.get("bos"), names.get("cls"))
    if last:
        if "eos" in names and last != names["eos"]:
            # What ends a text is not what ends a turn: llama.cpp has a name of its own for that.
            names["eot"] = names["eos"]
        names["eos"] = last
        add["eos"] = True
    pair = pair[1:] if first and pair and _special(pair[0]) == first else pair
    pair = pair[:-1] if last and pair and _special(pair[-1]) == last else pair
    between = [_special(part) for part in pair[1:-1]]
    if between and "Sequence" in pair[0] and "Sequence" in pair[-1]:
        ends = [text for text in (names.get("sep"), names.get("eos")) if text]
        add["sep"] = (between[0] in ends and not last) or (len(between) == 2 and between[1] in ends)
        if add["sep"] and "eos" in names:
            names.setdefault("sep", names["eos"])


def _special(part: dict[str, Any]) -> str | None:
    token = part.get("SpecialToken")
    return str(token["id"]) if token else None


def _special_ids(files: TokenizerFiles, names: dict[str, str], config: Config) -> dict[str, int]:
    """Ids by kind: named by the tokenizer's settings, else given by the model's configuration."""
    ids_by_text: dict[str, int] = {}
    for token_id, token in added_tokens(files).items():
        ids_by_text.setdefault(token.content, token_id)
    kinds = [kind for kind in (*SPECIAL_KINDS, "eot") if kind in names or kind != "eot"]
    found: dict[str, int] = {}
    for kind in kinds:
        if names.get(kind) in ids_by_text:
            found[kind] = ids_by_text[names[kind]]
    for kind in kinds:
        token_id = config.get(f"{kind}_token_id")
        if type(token_id) is int and token_id >= 0:
            found.setdefault(kind, token_id)
    return found


def _chat_template(folder: Path, settings: dict[str, Any]) -> str | list[dict[str, str]] | None:
    """The chat template: Jinja source, or a list of named ones."""
    template = settings.get("chat_template")
    jinja = folder / "chat_template.jinja"
    if template is None and jinja.is_file():
        template = read_text(jinja)
        more = sorted((folder / "additional_chat_templates").glob("*.jinja"))
        if more:
            template = [{"name": "default", "template": template}]
            template += [{"name": path.stem, "template": read_text(path)} for path in more]
    elif template is None:
        template = read_json(folder / "chat_template.json", optional=True).get("chat_template")
    named = template if isinstance(template, list) else []
    texts = [template] if not named else [t for e in named for t in _values(e)]
    if template is not None and not all(isinstance(text, str) for text in texts):
        raise TrimixError(f"{folder}: the chat template is no text: {shown(template)}")
    return template


def _values(entry: Any) -> list[Any]:
    """The name and the source of a named template; [None] where it is none."""
    return [entry.get("name", ""), entry.get("template")] if isinstance(entry, dict) else [None]
