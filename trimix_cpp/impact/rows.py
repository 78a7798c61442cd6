"""The logits of several versions of a trio's roles on the same windows of text, side by side.

A pass takes some windows. One version of a role after the other is evaluated on them, and its rows
go to a temporary file on the disk, which the system may keep in memory as far as there is room;
then they are compared. Never more logits than a pass has are held, and where the memory is short
never more models than one.

A window is `n_ctx` tokens of the text, windows follow each other without overlap, what is left
over at the end is not read; where the model adds a BOS token, it takes the place of a window's
first. Scored is every token of a window that has more than `n_ctx // 2` tokens before it: the
rule of llama-perplexity (tools/perplexity/perplexity.cpp).
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..alignment import align
from ..errors import AlignmentError, TrimixError
from ..files import Closing
from ..fusion import Rows
from ..gguf import read_header
from ..llama import Context, Model
from ..quant import Options, estimate, free_memory
from ..showing import Progress, count, size_text
from ..store import RoleSpec

# Logits that one evaluation of llama.cpp gives at most, in bytes.
_STEP_BYTES = 64 << 20
_LEAST_WINDOW = 16


@dataclass(frozen=True)
class Version:
    """A role as one side has it.

    Attributes:
        role: which one.
        path, lora, lora_scale: its files, as `RoleSpec`.
        type_k, type_v: types of its KV cache.
        n_ubatch: most tokens that are computed at a time; 0 for the usual number.
    """

    role: str
    path: Path
    type_k: str = "f16"
    type_v: str = "f16"
    lora: Path | None = None
    lora_scale: float = 1.0
    n_ubatch: int = 0

    @classmethod
    def of(cls, role: str, spec: RoleSpec, type_k: str, type_v: str) -> Version:
        """The role with these files and types."""
        return cls(role, spec.path.resolve(), type_k, type_v, spec.lora, spec.lora_scale)


@dataclass(frozen=True)
class Window:
    """A piece of text.

    Attributes:
        label: which slice of the text it belongs to.
        tokens: what is evaluated, ids of the alignment, [n_ctx].
        targets: the scored tokens, those that follow the scored rows, [n_scored].
        n_bytes: bytes of each target.
    """

    label: str
    tokens: NDArray[np.int32]
    targets: NDArray[np.int32]
    n_bytes: NDArray[np.int64]

    @property
    def first(self) -> int:
        """The first position whose row is scored."""
        return len(self.tokens) - 1 - len(self.targets)

    def hash(self) -> str:
        """A key of what is evaluated."""
        return hashlib.sha256(self.tokens.tobytes()).hexdigest()[:32]


class Evaluator(Closing):
    """Evaluates versions of roles on windows; ids and columns are those of one alignment.

    Args:
        roles: the reference's files; they decide about the alignment.
        n_ctx: tokens of a window.
        n_threads: CPU threads; 0 for the physical cores.
        n_gpu_layers: layers on the GPU, of every model; -1 for all.
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
        exact: bool = False,
    ) -> None:
        self.n_ctx, self.exact = n_ctx, exact
        self._n_threads, self._n_gpu_layers = n_threads, n_gpu_layers
        self._models: dict[Path, Model] = {}
        self._contexts: dict[Version, Context] = {}
        self._own = {role: spec.path.resolve() for role, spec in roles.items()}
        self._vocabularies: dict[Path, Model] = {}
        try:
            models = {role: self._vocabulary(path) for role, path in self._own.items()}
            self.alignment = align(models)
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

    def check(self, version: Version) -> None:
        """Raises AlignmentError or TrimixError where a version is not the reference's model."""
        own = self._own[version.role]
        if version.path == own:
            return
        mine, other = read_header(own), read_header(version.path)
        for key in ("tokens", "merges", "scores", "token_type"):
            name = f"tokenizer.ggml.{key}"
            left, right = mine.metadata.get(name), other.metadata.get(name)
            if getattr(left, "raw", None) != getattr(right, "raw", None):
                raise AlignmentError(
                    f"{version.path}: its vocabulary differs from that of {own.name} ({key}): it "
                    f"is no quantization of this {version.role}"
                )
        sizes = [{t.name: t.shape for t in header.tensors} for header in (mine, other)]
        if mine.architecture != other.architecture or sizes[0] != sizes[1]:
            raise TrimixError(
                f"{version.path}: its tensors are not those of {own.name}: it is no quantization "
                f"of this {version.role}"
            )

    def evaluate(self, version: Version, windows: Sequence[Window], out: Rows) -> None:
        """Write the scored rows into `out`, float32 [n_windows, n_scored, n_tokens]."""
        context = self._context(version)
        columns = self.alignment.columns[version.role]
        for index, window in enumerate(windows):
            context.clear()
            own = self.alignment.to_role(version.role, window.tokens)
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
                    out[index, at] = (
                        rows[:, : self.n_tokens] if columns is None else rows[:, columns]
                    )

    def needed(self, versions: Iterable[Version]) -> int:
        """Bytes that the versions take when all are loaded at the same time."""
        total, seen = 0, set()
        for version in versions:
            header = read_header(version.path)
            one = estimate(
                {version.role: header},
                Options(
                    n_ctx=self.n_ctx,
                    n_outputs=self._rows_of_step(header.path),
                    type_k={version.role: version.type_k},
                    type_v={version.role: version.type_v},
                    exact=self.exact,
                ),
            )
            weights = 0 if version.path in seen else one.weights
            total += one.private - one.program + weights
            seen.add(version.path)
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

    def _context(self, version: Version) -> Context:
        if version not in self._contexts:
            if version.path not in self._models:
                self._models[version.path] = Model(
                    version.path, n_gpu_layers=self._n_gpu_layers, exact=self.exact
                )
            n_batch = min(self.n_ctx, 512)
            if version.n_ubatch:
                n_batch = min(n_batch, version.n_ubatch)
            self._contexts[version] = Context(
                self._models[version.path],
                n_ctx=self.n_ctx,
                n_batch=n_batch,
                n_ubatch=n_batch,
                n_outputs_max=self._rows_of_step(version.path),
                n_threads=self._n_threads or None,
                # Exact mode has one type; what a version asks for would be refused.
                type_k=None if self.exact else version.type_k,
                type_v=None if self.exact else version.type_v,
                lora=(version.lora, version.lora_scale) if version.lora else None,
            )
        return self._contexts[version]


def _steps(first: int, stop: int, context: Context) -> Iterator[tuple[int, int]]:
    """What is evaluated at a time: as much as goes into a batch, and as there is room for rows."""
    start = 0
    while start < stop:
        most = max(start, first) + context.n_outputs_max
        end = min(start + context.n_batch, most, stop)
        yield start, end
        start = end


Pass = tuple[Sequence[int], Mapping[Version, Rows]]


def passes(
    evaluator: Evaluator,
    versions: Sequence[Version],
    windows: Sequence[Window],
    *,
    folder: Path,
    spool_bytes: int,
    one_by_one: bool | None = None,
    progress: Progress | None = None,
) -> Iterator[Pass]:
    """(indices of the pass's windows, version -> rows [n_windows, n_scored, n_tokens]).

    The rows are valid until the next pass.

    Args:
        evaluator: of the versions.
        versions: without repetition.
        windows: all of one size.
        folder: where the temporary file of the rows lies; it has no name there.
        spool_bytes: most bytes of that file, but one window's at least.
        one_by_one: load one model at a time; None does so where they do not fit into the memory.
        progress: is told (windows times versions done, in all).

    Raises:
        TrimixError: the rows of one window do not fit on the disk.
    """
    if not windows:
        return
    if one_by_one is None:
        one_by_one = evaluator.needed(versions) > 0.8 * free_memory()
    n_scored = len(windows[0].targets)
    row = n_scored * evaluator.n_tokens
    one = 4 * row * len(versions)
    size = min(max(spool_bytes, one), shutil.disk_usage(folder).free // 2) // one
    if size < 1:
        raise TrimixError(
            f"{folder}: the logits of one window need twice {size_text(one)} there; name a folder "
            "with room by --cache, or give a smaller -c"
        )
    # With all models at hand nothing is gained by long passes, and less is lost by a stop.
    size = min(size, len(windows)) if one_by_one else 1
    with tempfile.TemporaryFile(dir=folder) as file:
        rows = np.memmap(file, np.float32, "w+", shape=(len(versions), size, row))
        for start in range(0, len(windows), size):
            numbers = range(start, min(start + size, len(windows)))
            found = {}
            for index, version in enumerate(versions):
                out = rows[index, : len(numbers)].reshape(len(numbers), n_scored, -1)
                evaluator.evaluate(version, [windows[i] for i in numbers], out)
                if one_by_one:
                    evaluator.release()
                found[version] = out
                if progress:
                    done = start * len(versions) + (index + 1) * len(numbers)
                    progress(done, len(windows) * len(versions))
            yield numbers, found
        del rows
