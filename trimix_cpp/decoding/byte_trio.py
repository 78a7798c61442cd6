"""Roles whose tokenizers differ, fused over bytes (`--bytes`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from ..alignment import Alignment, Speller, byte_alphabet, spelling_of
from ..bytewise import END, Pruning, Spelling, Tokenize, allowed, unfinished
from ..errors import TrimixError
from ..fusion import DRAFT, ROLES, Mask
from ..llama import MAX_SEQ, Model
from ..quant import Options
from ..store import TrioSpec
from .speaker import Speaker
from .trio import Trio

if TYPE_CHECKING:
    from .text import Text


def most_texts(pruning: Pruning) -> int:
    """How many texts may run at once."""
    return MAX_SEQ // _sequences(pruning.width or 1)


def _sequences(width: int) -> int:
    """Sequences of a text: its prompt's, and those of the beams that are at hand in a step."""
    return 3 * width + 2


def _width(sequences: int) -> int:
    return max((sequences - 2) // 3, 1)


class ByteTrio(Trio):
    """A `Trio` whose alphabet is bytes and the end: a text's tokens are its bytes.

    A prompt that begins with `END` has names of control tokens in it that are read as these
    tokens. Every role reads prompts in its own tokens.

    Args:
        spec, roles, options: as of `Trio`; `options.bytes` says which tokenizations are followed.

    Attributes:
        pruning: the same.
    """

    def __init__(self, spec: TrioSpec, roles: Iterable[str], options: Options) -> None:
        if options.exact:
            raise TrimixError("--bytes does not go with --exact: its batches change with the text")
        pruning = options.bytes or Pruning()
        width = pruning.width or _width(MAX_SEQ // options.n_parallel)
        self.pruning = replace(pruning, width=width)
        most = most_texts(self.pruning)
        if options.n_parallel > most:
            raise TrimixError(
                f"at most {most} texts at once are fused over bytes with --beam {width}, not "
                f"{options.n_parallel}"
            )
        self._each = _sequences(width)
        self._spellings: dict[Model, Spelling] = {}
        self._speakers: dict[str, Speaker] = {}
        self._spellers: dict[str, Speller] = {}
        self._prompt = lru_cache(maxsize=64)(self._read)
        # Rows come one byte at a time.
        super().__init__(spec, roles, replace(options, n_outputs=1))

    def _align(self, models: Mapping[str, Model], reference: str | None) -> Alignment:
        if DRAFT in models:
            raise TrimixError("nothing is drafted over bytes: leave --draft out")
        for model in models.values():
            if model not in self._spellings:
                self._spellings[model] = spelling_of(model)
        first = next(role for role in (*ROLES, *models) if role in models)
        return byte_alphabet(models, reference or first)

    def _n_branches(self, role: str) -> int:
        return self._each - 1

    def spelling(self, role: str) -> Spelling:
        """The vocabulary of a role, by bytes."""
        return self._spellings[self._by_role[role]]

    def speaker(self, role: str) -> Speaker:
        """A loaded role by itself."""
        if role not in self._speakers:
            self._speakers[role] = Speaker(role, self._by_role[role])
        return self._speakers[role]

    def tokenizer(self, role: str) -> Tokenize:
        """How a role's tokenizer splits a text within another one."""
        if role not in self._spellers:
            self._spellers[role] = Speller(self._by_role[role])
        return self._spellers[role].spell

    def tokenize(
        self, text: str, *, add_special: bool = False, parse_special: bool = False
    ) -> list[int]:
        """The bytes of `text`, after `END` where names of control tokens are to be read."""
        return [END] * (add_special and parse_special) + list(text.encode("utf-8"))

    def prompt(self, role: str, tokens: Sequence[int]) -> Sequence[int]:
        """A role's own tokens of a prompt, with what it puts before a text."""
        return self._prompt(role, tuple(tokens))

    def _read(self, role: str, tokens: tuple[int, ...]) -> tuple[int, ...]:
        data, model = bytes(token for token in tokens if token != END), self._by_role[role]
        text = data[: len(data) - len(unfinished(data))].decode("utf-8")
        ids = model.tokenize(text, add_special=True, parse_special=tokens[:1] == (END,))
        if model.adds_eos and ids[-1:] == [model.eos]:
            ids.pop()  # it would end what is to be gone on with
        return tuple(ids)

    def length(self, roles: Iterable[str], tokens: Sequence[int]) -> int:
        """See `Trio`.

        Raises:
            TrimixError: there is nothing to go on from.
        """
        lengths = [len(self.prompt(role, tokens)) for role in roles]
        if not min(lengths):
            raise TrimixError("the prompt is empty")
        return max(lengths)

    def first_row(self, text: Text) -> int:
        """See `Trio`: each role needs a token of its own, and tokens end with characters."""
        first = text.wants
        if text.prompts and first < text.n_prompt - 1:
            raise TrimixError(
                "each role reads a prompt of its own here, and no weights can be chosen by its "
                "words: take --weights ent, or fixed ones"
            )
        while text.is_looking and first < text.n_prompt - 1:
            head = text.tokens[: first + 1]
            data = bytes(token for token in head if token != END)
            if not unfinished(data) and all(self.prompt(role, head) for role in text.roles):
                break
            first += 1
        return first

    def may_come(self, tokens: Sequence[int]) -> Mask | None:
        """See `Trio`: what goes on with UTF-8."""
        return allowed(unfinished(bytes(token for token in tokens[-3:] if token != END)))

    def _piece(self, token: int, *, special: bool = False) -> bytes:
        return b"" if token == END else bytes((token,))

    def text_of(self, token: int) -> str:
        """See `Trio`; the end has no name of its own."""
        return self._piece(token).decode("utf-8", "replace")
