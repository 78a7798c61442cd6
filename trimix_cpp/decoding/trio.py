"""The loaded roles of a trio, behind one alignment.

A `TrioSpec` says which file plays which role; a `Trio` holds the models and contexts of the roles
in use and evaluates batches on them. Outside this module token ids are the alignment's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..alignment import Alignment, align
from ..errors import ContextFullError, TrimixError
from ..files import Closing
from ..fusion import ALL_ROLES, Rows
from ..llama import Context, Model, hardware, interrupts_deferred, supports_gpu
from ..quant import Options, check_fits, estimate
from ..store import RoleSpec, TrioSpec

# What a user should know and no error is; the command line shows it.
log = logging.getLogger(__name__)

DEFAULT_N_CTX = 4096

T = TypeVar("T")


@dataclass(frozen=True)
class Feed:
    """Tokens that go to one role in one step: `tokens` at positions from `start` on, in `slot`.

    Logits come for the last `n_logits` of them.
    """

    slot: int
    tokens: Sequence[int] | NDArray[np.int32]
    start: int
    n_logits: int


class Trio(Closing):
    """The roles in use, loaded; a context manager.

    Args:
        spec: which file plays which role.
        roles: the roles in use; others can be added later with `require`.
        options: how they run.

    Raises:
        ModelFileError: a file is missing or broken, or the spec has no file for a role.
        AlignmentError: the models may not be fused.
        TrimixError: no memory, or options that do not go together.
    """

    def __init__(
        self, spec: TrioSpec, roles: Iterable[str], options: Options | None = None
    ) -> None:
        self.spec, self.options = spec, options or Options()
        self._models: dict[Path, Model] = {}
        self._by_role: dict[str, Model] = {}
        self._contexts: dict[str, Context] = {}
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="trimix-role")
        self._alignment: Alignment | None = None
        self._n_ctx = 0
        self.seconds: dict[str, float] = {}  # role -> what its part of the last decode took
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
        """Load the roles that are not loaded yet; the ids of tokens stay what they were."""
        new = [role for role in ALL_ROLES if role in set(roles) and role not in self._contexts]
        if not new:
            return
        used = [role for role in ALL_ROLES if role in new or role in self._by_role]
        models = {role: self._model(role) for role in used}
        reference = self._alignment.reference if self._alignment else None
        alignment = align(models, reference=reference)
        n_ctx = self._n_ctx or self._context_length(models)
        self._check_memory({role: models[role] for role in new}, n_ctx)
        contexts = {role: self._context(role, models[role], n_ctx) for role in new}
        # Only now that nothing can fail: a role that cannot be had leaves the others as they were.
        self._by_role, self._alignment, self._n_ctx = models, alignment, n_ctx
        self._contexts.update(contexts)

    def _check_memory(self, models: Mapping[str, Model], n_ctx: int) -> None:
        """Raises TrimixError where contexts would not fit; warns where weights do not."""
        adapters = [(role, self._role_spec(role).lora) for role in models]
        machine = hardware()
        if not all(model.repacks for model in models.values()):
            machine = replace(machine, repacked_types=frozenset())
        needed = estimate(
            {role: model.header for role, model in models.items()},
            replace(self.options, n_ctx=n_ctx),
            hardware=machine,
            # A missing file is told of when it is opened.
            adapters={r: path.stat().st_size for r, path in adapters if path and path.exists()},
            loaded=True,
        )
        if warning := check_fits(needed):
            log.warning("%s", warning)

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

    def decode(self, feeds: Mapping[str, list[Feed]]) -> dict[str, Rows]:
        """Evaluate one batch a role; the rows of each role, in the order of its feeds.

        Rows have the shape [sum of n_logits, n_tokens], columns in the alignment's order; they are
        views where they can be, valid until the next call.
        """
        roles = [role for role in ALL_ROLES if feeds.get(role)]
        on_gpu = [role for role in roles if self._is_on_gpu(self._by_role[role])]
        if not 0 < len(on_gpu) < len(roles):
            # On one device one after the other with all threads; two devices work side by side.
            return self._feed_all(roles, feeds)
        groups = on_gpu, [role for role in roles if role not in on_gpu]
        done = self._together([partial(self._feed_all, group, feeds) for group in groups])
        rows = {role: own for results in done for role, own in results.items()}
        return {role: rows[role] for role in roles}

    def _feed_all(self, roles: Sequence[str], feeds: Mapping[str, list[Feed]]) -> dict[str, Rows]:
        return {role: self._feed(role, feeds[role]) for role in roles}

    def _together(self, tasks: Sequence[Callable[[], T]]) -> list[T]:
        # Ctrl-C waits: nobody may touch a context that a thread is decoding with.
        with interrupts_deferred():
            futures = [self._pool.submit(task) for task in tasks]
            errors = [error for error in (future.exception() for future in futures) if error]
        if errors:
            raise errors[0]
        return [future.result() for future in futures]

    @staticmethod
    def _is_on_gpu(model: Model) -> bool:
        return bool(supports_gpu() and model.n_gpu_layers)

    def _feed(self, role: str, feeds: list[Feed]) -> Rows:
        context = self._contexts[role]
        began = time.perf_counter()
        if len(feeds) == 1 and len(feeds[0].tokens) == feeds[0].n_logits == 1:
            (feed,) = feeds
            own = self.alignment.id_in_role(role, int(feed.tokens[0]))
            context.step(own, feed.start, feed.slot)
        else:
            self._feed_batch(role, feeds)
        # llama.cpp may compute until the logits are asked for.
        rows, columns = context.logits(), self.alignment.columns[role]
        self.seconds[role] = time.perf_counter() - began
        return rows[:, : self.n_tokens] if columns is None else rows[:, columns]

    def _feed_batch(self, role: str, feeds: list[Feed]) -> None:
        positions: list[int] = []
        slots: list[int] = []
        outputs: list[bool] = []
        for feed in feeds:
            n = len(feed.tokens)
            positions += range(feed.start, feed.start + n)
            slots += [feed.slot] * n
            outputs += [False] * (n - feed.n_logits) + [True] * feed.n_logits
        fed = np.concatenate([np.asarray(feed.tokens, np.int32) for feed in feeds])
        arrays = np.array(positions, np.int32), np.array(slots, np.int32), np.array(outputs, bool)
        self._contexts[role].decode(self.alignment.to_role(role, fed), *arrays)

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
        context.remove(slot, 0)
        return 0

    def copy(self, role: str, source: int, target: int, length: int) -> None:
        """Share the first `length` cached tokens of slot `source` with the empty slot `target`."""
        self._contexts[role].copy(source, target, 0, length)

    def _model(self, role: str) -> Model:
        role_spec = self._role_spec(role)
        model = self._models.get(role_spec.path)
        if model is None:
            model = Model(
                role_spec.path,
                n_gpu_layers=self.options.n_gpu_layers.get(role, -1),
                exact=self.options.exact,
                mlock=self.options.mlock,
            )
            self._models[role_spec.path] = model
        return model

    def _role_spec(self, role: str) -> RoleSpec:
        if role not in self.spec.roles:
            raise TrimixError(
                f"{self.spec.name}: the weights use {role}, but no file is given for it; "
                f"give --{role.replace('_', '-')} FILE or other weights"
            )
        return self.spec.roles[role]

    def _context_length(self, models: Mapping[str, Model]) -> int:
        trained = min(model.n_ctx_train for model in models.values())
        wanted = self.options.n_ctx
        return min(trained, DEFAULT_N_CTX) if wanted is None else wanted or trained

    def _context(self, role: str, model: Model, n_ctx: int) -> Context:
        options, role_spec = self.options, self._role_spec(role)
        type_k, type_v = options.cache_types(role)
        return Context(
            model,
            n_ctx=n_ctx,
            n_batch=max(options.n_batch, options.n_parallel),
            n_ubatch=options.n_ubatch,
            n_seq_max=options.n_parallel,
            n_outputs_max=max(options.n_parallel, options.n_outputs),
            n_threads=options.n_threads or None,
            flash_attn=options.flash_attn,
            type_k=type_k,
            type_v=type_v,
            lora=(role_spec.lora, role_spec.lora_scale) if role_spec.lora else None,
        )

    def check_length(self, n_tokens: int) -> None:
        """Raises ContextFullError where a prompt of `n_tokens` leaves no room for an answer."""
        if n_tokens >= self.n_ctx:
            raise ContextFullError(
                f"the prompt has {n_tokens} tokens and the context holds {self.n_ctx}: shorten "
                "it, or give a larger -c"
            )

    def close(self) -> None:
        """Free the contexts, then the models; harmless when done twice."""
        self._pool.shutdown()
        for context in self._contexts.values():
            context.close()
        self._contexts.clear()
        for model in self._models.values():
            model.close()
        self._models.clear()
