"""How long contexts are and how many sequences run at once, from the texts and the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ..decoding import most_texts
from ..fusion import ROLES
from ..gguf import Header, read_header
from ..llama import MAX_SEQ, Model, physical_cores, supports_gpu
from ..quant import Options, cache_bytes, free_memory
from ..store import TrioSpec
from .recipe import NO_HINTS, Recipe
from .units import Unit

# Sequences in flight for each core: on 2 cores a batch of 16 costs about 3 times a single token.
# One core too wants 16: with 8 it does two thirds of the texts (benchmarks/cluster.py).
_A_CORE = 8
_LEAST = 16
_MOST = 64
_STEP = 64
# Bytes of attention scores that are held without flash attention.
_MOST_SCORES = 256 << 20
# Tokens may split otherwise where the text meets the prompt around it.
_SLACK = 8


class Machine:
    """The models' headers and this machine: what a run can afford.

    Args:
        spec: the trio.
        roles: those in use.
        options: as the user gave them.
        n_cores: that it may use, 0 for all.
        memory: bytes that it may use, 0 for what is free.

    Raises:
        ModelFileError: a file is missing or broken.
    """

    def __init__(
        self,
        spec: TrioSpec,
        roles: Iterable[str],
        options: Options,
        *,
        n_cores: int = 0,
        memory: int = 0,
    ) -> None:
        self._spec, self._options = spec, options
        self._n_cores, self._memory = n_cores or physical_cores(), memory
        self._roles = [role for role in ROLES if role in set(roles) and role in spec.roles]
        self._headers = {role: read_header(spec.roles[role].path) for role in self._roles}

    def context_length(self, recipe: Recipe, units: Iterable[Unit]) -> int:
        """Tokens a sequence needs: the longest prompt and its answer; what the user said, if so.

        At most what the models were trained for.
        """
        trained = min((h.number("context_length") for h in self._headers.values()), default=0)
        if self._options.n_ctx is not None:
            return self._options.n_ctx or trained
        with Model(self._spec.roles[self._roles[0]].path, vocab_only=True) as model:

            def tokens(text: str) -> int:
                return len(model.tokenize(text, add_special=True))

            shared = tokens(recipe.prompt("", len(recipe.shots))) + _SLACK

            def needed(unit: Unit, length: Callable[[str], int]) -> int:
                """Of its prompt, if text has so many tokens, and its answer."""
                text, hints, answer = unit.asked, unit.hints, recipe.answer_limit(unit.asked)
                if hints == NO_HINTS:
                    return shared + length(text) + answer
                shots = len(recipe.exemplars(hints))
                return length(recipe.prompt(text, shots, hints)) + _SLACK + answer

            longest = shared
            # No text has more tokens than bytes, so that few need to be tokenized.
            bounds = [(needed(unit, _n_bytes), i, unit) for i, unit in enumerate(units)]
            for bound, _, unit in sorted(bounds, reverse=True):
                if bound <= longest:
                    break
                longest = max(longest, needed(unit, tokens))
        rounded = -(-longest // _STEP) * _STEP
        return min(rounded, trained) if trained else rounded

    def parallel(self, n_ctx: int, n_units: int) -> int:
        """Sequences in flight: 8 a core (64 with a GPU), as far as half of the free memory goes."""
        if self._options.exact and self._alone():
            return 1
        most = _MOST if supports_gpu() else max(_LEAST, min(_A_CORE * self._n_cores, _MOST))
        each = sum(self._sequence_bytes(role, n_ctx) for role in self._roles)
        if self._options.bytes:
            most = min(most, most_texts(self._options.bytes) - 1)
        affordable = self._free() // 2 // max(each, 1) - 1  # one place is the shared beginning's
        return max(1, min(most, n_units, affordable, MAX_SEQ - 1))

    def places(self, parallel: int) -> int:
        """Places that the trio needs for so many in flight: one more, for the shared beginning."""
        return 1 if parallel == 1 and self._options.exact and self._alone() else parallel + 1

    def flash_attn(self, n_ctx: int, places: int) -> bool | None:
        """Flash attention as the user wanted it; else off where that is faster and little memory.

        On the CPU, with many in flight that share a beginning, llama.cpp's flash attention over
        float caches takes a third of the bundled trio's time; without it the scores of a batch
        against every cell are in memory at once.
        """
        options = self._options
        floats = all(
            kind in ("f32", "f16", "bf16")
            for role in self._roles
            for kind in options.cache_types(role)
        )
        if options.flash_attn is not None or options.exact or supports_gpu() or not floats:
            return options.flash_attn
        heads = max(header.number("attention.head_count") for header in self._headers.values())
        scores = 4 * n_ctx * places * min(options.n_ubatch, options.n_batch) * heads
        return False if 0 < scores <= _MOST_SCORES else None

    def _alone(self) -> bool:
        """Exact mode takes one sequence at a time where a weight is not quantized."""
        for role in self._roles:
            if self._spec.roles[role].lora:
                return True
            with Model(self._spec.roles[role].path, vocab_only=True) as model:
                if model.has_float_matrices:
                    return True
        return False

    def _sequence_bytes(self, role: str, n_ctx: int) -> int:
        """KV cache and logits row of one sequence."""
        header = self._headers[role]
        return cache_bytes(header, n_ctx, *self._options.cache_types(role)) + 4 * _rows(header)

    def _free(self) -> int:
        weights = sum(path.stat().st_size for path in self._files())
        free = min(free_memory(), self._memory) if self._memory else free_memory()
        return max(0, free - weights)

    def _files(self) -> set[Path]:
        """Of the weights that lie here; caches on servers count all the same, to be careful."""
        here = [role for role in self._roles if not self._options.servers(role)]
        return {self._spec.roles[role].path for role in here}


def _n_bytes(text: str) -> int:
    return len(text.encode())


def _rows(header: Header) -> int:
    """Entries of a logits row."""
    shapes = [t.shape for t in header.tensors if t.name == "token_embd.weight"]
    return int(shapes[0][1]) if shapes else 0
