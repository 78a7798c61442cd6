"""The loaded roles of a trio, behind one alignment.

A `TrioSpec` says which file plays which role; a `Trio` holds the models and contexts of the roles
in use and evaluates batches on them. Outside this module token ids are the alignment's.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..alignment import Alignment, align
from ..errors import ContextFullError, FullError
from ..files import Closing
from ..fusion import ALL_ROLES, Mask, Rows
from ..llama import (
    MAX_SEQ,
    Context,
    Model,
    interrupts_deferred,
    leaving_on_interrupt,
)
from ..quant import Options
from ..showing import count
from ..store import TrioSpec
from .feeds import Feed, feed
from .loading import Loader
from .prefixes import Held, Prefixes

if TYPE_CHECKING:
    from .text import Text

# What a user should know and no error is; the command line shows it.
log = logging.getLogger(__name__)

# A batch with so many tokens of a text may take seconds: it is left where Ctrl-C comes.
_LONG = 32
# Of a role with tokens of its own: further sequences of a text.
_BRANCHES = 4


class Trio(Closing):
    """The roles in use, loaded; a context manager.

    Args:
        spec: which file plays which role.
        roles: the roles in use; others can be added later with `require`.
        options: how they run.
        vocab_only: load tokenizers alone: it reads as ever, and evaluates nothing.

    Attributes:
        lock: whoever evaluates, or moves slots, holds it.
        prefixes: what texts that left have in the caches.
        uncut: roles whose caches were found to be of a kind that cannot be rolled back.
        seconds: role -> what its part of the last batch took.

    Raises:
        ModelFileError: a file is missing or broken, or the spec has no file for a role.
        AlignmentError: the models may not be fused.
        TrimixError: no memory, or options that do not go together.
    """

    def __init__(
        self,
        spec: TrioSpec,
        roles: Iterable[str],
        options: Options | None = None,
        *,
        vocab_only: bool = False,
    ) -> None:
        self.spec, self.options = spec, options or Options()
        self._loader = Loader(self.spec, self.options, vocab_only)
        self._files: dict[object, Model] = {}  # a file that several roles share is loaded once
        self._by_role: dict[str, Model] = {}
        self._contexts: dict[str, Context] = {}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trimix-device")
        self._alignment: Alignment | None = None
        self._n_ctx = 0
        self._free = list(range(self.options.n_parallel))[::-1]
        self._closed = self._aborted = False
        self._told: set[tuple[str, ...]] = set()
        self.lock = threading.RLock()
        self.prefixes = Prefixes()
        self.uncut: set[str] = set()
        self.seconds: dict[str, float] = {}
        # One method object for the life of the trio, so that the cache dies with it.
        self.piece: Callable[[int], bytes] = lru_cache(maxsize=1 << 16)(self._piece)
        try:
            self.require(roles)
        except BaseException:
            self.close()
            raise

    @property
    def alignment(self) -> Alignment:
        """How the ids of the roles correspond; raises ValueError before a role is loaded."""
        if self._alignment is None:
            raise ValueError("the trio has no role in use")
        return self._alignment

    @property
    def roles(self) -> tuple[str, ...]:
        """The loaded roles."""
        return tuple(self._contexts)

    @property
    def n_tokens(self) -> int:
        """Entries of a logits row: the tokens that all roles share."""
        return self.alignment.n_tokens

    @property
    def n_ctx(self) -> int:
        """Tokens that one sequence may have."""
        return self._n_ctx

    @property
    def n_batch(self) -> int:
        """Tokens that one role takes in one step."""
        return min(context.n_batch for context in self._contexts.values())

    @property
    def n_outputs(self) -> int:
        """Logits rows that one role gives in one step."""
        return min(context.n_outputs_max for context in self._contexts.values())

    @property
    def n_parallel(self) -> int:
        """Sequences that run at once."""
        return self.options.n_parallel

    @property
    def chat_template(self) -> str | None:
        """The chat template of `large`, or of the first loaded role that has one. Untrusted."""
        templates = (model.chat_template for model in self._by_role.values())
        return next((template for template in templates if template), None)

    def require(self, roles: Iterable[str]) -> None:
        """Load the roles that are not loaded yet; the ids of tokens stay what they were.

        A role that cannot be had leaves the others, and the memory, as they were.
        """
        if self._closed:
            raise ValueError("the trio is closed")
        new = [role for role in ALL_ROLES if role in set(roles) and role not in self._by_role]
        if new:
            with self.lock, ExitStack() as undo:
                self._load(new, undo)
                undo.pop_all()

    def _load(self, new: Sequence[str], undo: ExitStack) -> None:
        """Load roles; what `undo` closes is theirs alone."""
        files = dict(self._files)
        models = dict(self._by_role)
        for role in new:
            file = self._loader.file(role)
            if file not in files:
                files[file] = undo.enter_context(self._loader.model(role))
            models[role] = files[file]
        models = {role: models[role] for role in ALL_ROLES if role in models}
        reference = self._alignment.reference if self._alignment else None
        alignment = self._align(models, reference)
        n_ctx = self._n_ctx or self._loader.context_length(models)
        if self._loader.vocab_only:
            self._files, self._by_role, self._alignment = files, models, alignment
            self._n_ctx = n_ctx
            return
        self._loader.check_memory({role: models[role] for role in new}, n_ctx)
        before = self._files, self._by_role, self._alignment
        self._files, self._by_role, self._alignment = files, models, alignment
        try:
            contexts = {
                role: undo.enter_context(
                    self._loader.context(role, models[role], n_ctx, self._n_branches(role))
                )
                for role in new
            }
        except BaseException:
            self._files, self._by_role, self._alignment = before
            raise
        self._n_ctx = n_ctx
        self._contexts.update(contexts)

    def _align(self, models: Mapping[str, Model], reference: str | None) -> Alignment:
        return align(models, reference=reference)

    def tokenize(
        self, text: str, *, add_special: bool = False, parse_special: bool = False
    ) -> list[int]:
        """Ids of `text`, by the reference role's tokenizer."""
        model = self._by_role[self.alignment.reference]
        ids = model.tokenize(text, add_special=add_special, parse_special=parse_special)
        tokens: list[int] = self.alignment.from_role(
            self.alignment.reference, np.asarray(ids, np.int32)
        ).tolist()
        return tokens

    def text_of(self, token: int) -> str:
        """The name of a token, control tokens included, for messages and templates."""
        return self._piece(token, special=True).decode("utf-8", "replace")

    def special_text(self, which: str) -> str:
        """The text of the `bos` or `eos` token of the reference role; empty if it has none."""
        model = self._by_role[self.alignment.reference]
        token = model.bos if which == "bos" else model.eos
        return model.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    def _piece(self, token: int, *, special: bool = False) -> bytes:
        role = self.alignment.reference
        own = self.alignment.id_in_role(role, token)
        return self._by_role[role].piece(own, special=special)

    def length(self, roles: Iterable[str], tokens: Sequence[int]) -> int:
        """Tokens of a text, as the role counts them that needs most."""
        return max(len(tokens), *(self.alignment.length(role, tokens) for role in roles))

    def tell_lacked(self, roles: tuple[str, ...]) -> None:
        """Say once that tokens which one of `roles` lacks never come."""
        lacked = self.alignment.of(roles).lacked
        if len(lacked) and roles not in self._told:
            self._told.add(roles)
            names = ", ".join(map(self.text_of, lacked[:3].tolist()))
            log.warning(
                "%s that not all models have never come (%s%s); --control large takes their "
                "probabilities from large",
                count(len(lacked), "special token"),
                names,
                ", …" if len(lacked) > 3 else "",
            )

    def decode(self, feeds: Mapping[str, list[Feed]]) -> dict[str, Rows]:
        """Evaluate one batch a role; the logits of each role, in the order of its feeds.

        They have the shape [sum of n_logits, the role's n_vocab], and are views that are valid
        until the next call. A long batch is left where Ctrl-C comes, or another thread aborts it.

        Raises:
            AbortedError: it was left; nothing of the batch that was running was kept.
            TrimixError: llama.cpp refused or failed.
        """
        roles = [role for role in ALL_ROLES if role in feeds]
        if self._aborted:
            self._aborted = False
            for context in self._contexts.values():
                context.go_on()
        on_gpu = [role for role in roles if self._by_role[role].offloaded]
        if 0 < len(on_gpu) < len(roles):  # two devices work side by side
            return self._side_by_side(on_gpu, [r for r in roles if r not in on_gpu], feeds)
        # On one device one after the other with all threads.
        if max([len(own[0].tokens) for own in feeds.values() if own], default=0) >= _LONG:
            with interrupts_deferred(), leaving_on_interrupt(self.abort):
                return self._feed_all(roles, feeds)
        return self._feed_all(roles, feeds)

    def abort(self) -> None:
        """Leave the batch that another thread is decoding; harmless where none is."""
        self._aborted = True
        for context in tuple(self._contexts.values()):
            context.abort()

    def _feed_all(self, roles: Sequence[str], feeds: Mapping[str, list[Feed]]) -> dict[str, Rows]:
        return {role: self._feed(role, feeds[role]) for role in roles}

    def _side_by_side(
        self, there: Sequence[str], here: Sequence[str], feeds: Mapping[str, list[Feed]]
    ) -> dict[str, Rows]:
        """Another device's roles in a thread that waits for it; the CPU's in this one, as always.

        Nobody may touch a context that a thread is decoding with: Ctrl-C waits until it is left.
        """
        with interrupts_deferred(), leaving_on_interrupt(self.abort):
            theirs = self._pool.submit(self._feed_all, there, feeds)
            try:
                ours = self._feed_all(here, feeds)
            finally:
                wait([theirs])
        return {**theirs.result(), **ours}

    def _feed(self, role: str, feeds: list[Feed]) -> Rows:
        context = self._contexts[role]
        if not feeds:  # what it has is enough
            self.seconds[role] = 0.0
            return np.empty((0, context.model.n_vocab), np.float32)
        began = time.perf_counter()
        if len(feeds) == 1 and len(feeds[0].tokens) == feeds[0].n_logits == 1:
            slot, (token,), start, _ = feeds[0]
            context.step(int(token), start, slot)
            rows = context.logits()  # llama.cpp may compute until they are asked for
        else:
            rows = feed(context, feeds)
        self.seconds[role] = time.perf_counter() - began
        return rows

    def context(self, role: str) -> Context:
        """The context of a loaded role, for measurements of that role alone."""
        return self._contexts[role]

    def rewind(self, role: str, slot: int, length: int) -> int:
        """Cut a slot's cache back to `length` tokens; returns how many are left.

        That is `length`, or 0 where this kind of cache cannot be rolled back and was emptied.
        """
        context = self._contexts[role]
        if context.remove(slot, length):
            return length
        self.uncut.add(role)
        context.remove(slot, 0)
        return 0

    def copy(self, role: str, source: int, target: int) -> None:
        """Share what slot `source` has cached with the empty slot `target`."""
        self._contexts[role].copy(source, target)

    def branch(self, role: str, source: int, target: int, stop: int | None, start: int = 0) -> None:
        """Share positions [start, stop) of one sequence with another; None is to the end."""
        self._contexts[role].copy(source, target, start, -1 if stop is None else stop)

    def take(self, but: Held | None = None) -> int:
        """An empty slot, the same in every role; what `prefixes` hold gives way, but not `but`.

        Raises:
            FullError: none is free.
        """
        while not self._free:
            if not self.prefixes.evict(but):
                raise FullError(f"all {self.n_parallel} places are taken")
        slot = self._free.pop()
        self.empty(slot)
        return slot

    def give(self, slot: int) -> None:
        """Take a slot back; any thread may give one."""
        self._free.append(slot)

    def empty(self, slot: int) -> None:
        """Empty a slot's caches in every role."""
        for role, context in self._contexts.items():
            for each in self.slots(role, slot):
                context.remove(each, 0)

    def slots(self, role: str, slot: int) -> list[int]:
        """The sequences of a role that belong to a slot: its own, and those of its branches."""
        n_more = self._n_branches(role)
        first = self.n_parallel + slot * n_more
        return [slot, *range(first, first + n_more)]

    def _n_branches(self, role: str) -> int:
        """Further sequences that a slot has in a role with tokens of its own."""
        if role not in self.alignment.enlarged:
            return 0
        model = self._by_role[role]
        most = _BRANCHES
        if model.exact:  # a cache each
            most = 0 if model.has_float_matrices else 1
        return min(most, MAX_SEQ // self.n_parallel - 1)

    def first_row(self, text: Text) -> int:
        """The first position of a new text whose row can be had, from the one that it wants on."""
        return text.wants

    def may_come(self, tokens: Sequence[int]) -> Mask | None:
        """Which tokens may follow these, None for all."""
        return None

    def check_length(self, n_tokens: int, *, answer: bool = True) -> None:
        """Raises ContextFullError where a prompt does not fit, with room for an `answer`."""
        if n_tokens + answer > self.n_ctx:
            raise ContextFullError(
                f"the prompt has {n_tokens} tokens and the context holds {self.n_ctx}: shorten "
                "it, or give a larger -c"
            )

    def close(self) -> None:
        """Free the contexts, then the models; harmless when done twice."""
        self._closed = True
        self.abort()
        with self.lock:
            self.prefixes.clear()
            self._pool.shutdown()
            for closing in (*self._contexts.values(), *self._files.values()):
                closing.close()
            self._contexts.clear()
            self._by_role.clear()
            self._files.clear()
