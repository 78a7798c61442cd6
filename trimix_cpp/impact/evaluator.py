"""The logits of variants of a trio's roles on windows of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..alignment import align
from ..errors import AlignmentError, TrimixError
from ..files import Closing, real_path
from ..fusion import Rows
from ..gguf import read_header
from ..llama import Context, Model
from ..quant import Options, estimate
from ..showing import count
from ..store import RoleSpec
from .windows import Window

# Logits that one evaluation of llama.cpp gives at most, in bytes.
_STEP_BYTES = 64 << 20
_LEAST_WINDOW = 16


@dataclass(frozen=True)
class Variant:
    """A role as one side has it.

    Attributes:
        role: which one.
        files: its model, and the adapter on it.
        type_k, type_v: types of its KV cache.
        n_ubatch: most tokens that are computed at a time; 0 for the usual number.
    """

    role: str
    files: RoleSpec
    type_k: str = "f16"
    type_v: str = "f16"
    n_ubatch: int = 0

    def with_cache(self, kind: str) -> Variant:
        """The variant with a KV cache of another type."""
        return replace(self, type_k=kind, type_v=kind)


class Evaluator(Closing):
    """Evaluates variants of roles on windows; ids and columns are those of one alignment.

    Args:
        roles: the reference's files; they decide about the alignment.
        n_ctx: tokens of a window.
        n_threads: CPU threads; 0 for the physical cores.
        n_gpu_layers: layers on the GPU, of every model; -1 for all.
        rpc: role -> RPC servers that take them instead.
        exact: the size of a batch does not change the logits.

    Raises:
        AlignmentError: the roles may not be fused.
        ModelFileError: a file is missing or broken.
    """

    def __init__(
        self,
        roles: Mapping[str, RoleSpec],
        *,
        n_ctx: int,
        n_threads: int = 0,
        n_gpu_layers: int = -1,
        rpc: Mapping[str, tuple[str, ...]] | None = None,
        exact: bool = False,
    ) -> None:
        self.n_ctx, self.exact = n_ctx, exact
        self._n_threads, self._n_gpu_layers = n_threads, n_gpu_layers
        self._rpc = rpc or {}
        self._models: dict[object, Model] = {}
        self._contexts: dict[Variant, Context] = {}
        self._own = {role: real_path(spec.path) for role, spec in roles.items()}
        self._vocabularies: dict[Path, Model] = {}
        try:
            models = {role: self._vocabulary(path) for role, path in self._own.items()}
            self.alignment = align(models)
            if self.alignment.enlarged:
                raise TrimixError(
                    "impact does not measure models with a vocabulary of their own: give files of "
                    "one vocabulary"
                )
            self._tokenizer = models[self.alignment.reference]
        except BaseException:
            self.close()
            raise

    @property
    def n_tokens(self) -> int:
        """Columns of a row."""
        return self.alignment.n_tokens

    def windows(self, text: str, label: str) -> list[Window]:
        """The windows of a text.

        Raises:
            TrimixError: it is shorter than one window.
        """
        if self.n_ctx < _LEAST_WINDOW:
            raise TrimixError(f"a window has at least {_LEAST_WINDOW} tokens, not {self.n_ctx}")
        model, reference = self._tokenizer, self.alignment.reference
        own = np.asarray(model.tokenize(text, add_special=True), np.int32)
        tokens = self.alignment.from_role(reference, own)
        if len(tokens) < self.n_ctx:
            raise TrimixError(
                f"{label}: has {count(len(tokens), 'token')}, and a window is {self.n_ctx}: give "
                "more text, or a smaller -c"
            )
        sizes = {int(t): len(model.piece(int(i))) for t, i in zip(tokens, own, strict=True)}
        first, found = self.n_ctx // 2, []
        for start in range(0, len(tokens) - self.n_ctx + 1, self.n_ctx):
            window = np.array(tokens[start : start + self.n_ctx], np.int32)
            targets = window[first + 1 :].copy()
            if model.adds_bos:
                window[0] = self.alignment.from_role(reference, np.array([model.bos], np.int32))[0]
            n_bytes = np.array([sizes[int(token)] for token in targets], np.int64)
            found.append(Window(label, window, targets, n_bytes))
        return found

    def check(self, variant: Variant) -> None:
        """Raises AlignmentError or TrimixError where a variant is not the reference's model."""
        own, path = self._own[variant.role], variant.files.path
        if real_path(path) == own:
            return
        mine, other = read_header(own), read_header(path)
        for key in ("tokens", "merges", "scores", "token_type"):
            name = f"tokenizer.ggml.{key}"
            left, right = mine.metadata.get(name), other.metadata.get(name)
            if getattr(left, "raw", None) != getattr(right, "raw", None):
                raise AlignmentError(
                    f"{path}: its vocabulary differs from that of {own.name} ({key}): it "
                    f"is no quantization of this {variant.role}"
                )
        sizes = [{t.name: t.shape for t in header.tensors} for header in (mine, other)]
        if mine.architecture != other.architecture or sizes[0] != sizes[1]:
            raise TrimixError(
                f"{path}: its tensors are not those of {own.name}: it is no quantization "
                f"of this {variant.role}"
            )

    def evaluate(self, variant: Variant, windows: Sequence[Window], out: Rows) -> None:
        """Write the scored rows into `out`, float32 [n_windows, n_scored, n_tokens]."""
        context = self._context(variant)
        for index, window in enumerate(windows):
            context.clear()
            own = self.alignment.to_role(variant.role, window.tokens)
            # The last token's row predicts nothing that is here. It is computed all the same: what
            # is in a batch decides about the rounding, and llama-perplexity computes it.
            for start, stop in _steps(window.first, len(own), context):
                places = np.arange(start, stop, dtype=np.int32)
                context.decode(
                    own[start:stop],
                    places,
                    np.zeros(stop - start, np.int32),
                    places >= window.first,
                )
                if stop > window.first:
                    at = slice(max(start - window.first, 0), min(stop - window.first, out.shape[1]))
                    rows = context.logits()[: at.stop - at.start]
                    out[index, at] = self.alignment.rows(variant.role, rows)

    def needed(self, variants: Iterable[Variant]) -> int:
        """Bytes that the variants take when all are loaded at the same time."""
        total, seen = 0, set()
        for variant in variants:
            path = variant.files.path
            header = read_header(path)
            one = estimate(
                {variant.role: header},
                Options(
                    n_ctx=self.n_ctx,
                    n_outputs=self._rows_of_step(path),
                    type_k={variant.role: variant.type_k},
                    type_v={variant.role: variant.type_v},
                    exact=self.exact,
                    rpc=self._rpc,
                ),
            )
            weights = 0 if path in seen else one.weights
            total += one.private - one.program + weights
            seen.add(path)
        return total

    def release(self) -> None:
        """Unload the models that were evaluated."""
        for context in self._contexts.values():
            context.close()
        self._contexts.clear()
        for model in self._models.values():
            model.close()
        self._models.clear()

    def close(self) -> None:
        """Free everything; harmless when done twice."""
        self.release()
        for model in self._vocabularies.values():
            model.close()
        self._vocabularies.clear()

    def _vocabulary(self, path: Path) -> Model:
        if path not in self._vocabularies:
            self._vocabularies[path] = Model(path, vocab_only=True)
        return self._vocabularies[path]

    def _rows_of_step(self, path: Path) -> int:
        n_vocab = max(read_header(path).n_vocab, self.n_tokens)
        return max(1, min(self.n_ctx - self.n_ctx // 2, _STEP_BYTES // (4 * n_vocab)))

    def _context(self, variant: Variant) -> Context:
        if variant not in self._contexts:
            files = variant.files
            servers = self._rpc.get(variant.role, ())
            key = files.path, servers
            if key not in self._models:
                self._models[key] = Model(
                    files.path,
                    n_gpu_layers=self._n_gpu_layers,
                    exact=self.exact,
                    servers=servers,
                )
            n_batch = min(self.n_ctx, 512, variant.n_ubatch or 512)
            self._contexts[variant] = Context(
                self._models[key],
                n_ctx=self.n_ctx,
                n_batch=n_batch,
                n_ubatch=n_batch,
                n_outputs_max=self._rows_of_step(files.path),
                n_threads=self._n_threads or None,
                type_k=variant.type_k,
                type_v=variant.type_v,
                lora=(files.lora, files.lora_scale) if files.lora else None,
            )
        return self._contexts[variant]


def _steps(first: int, stop: int, context: Context) -> Iterator[tuple[int, int]]:
    """What is evaluated at a time: as much as goes into a batch, and as there is room for rows."""
    start = 0
    while start < stop:
        most = max(start, first) + context.n_outputs_max
        end = min(start + context.n_batch, most, stop)
        yield start, end
        start = end
