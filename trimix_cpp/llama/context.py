"""Contexts of llama.cpp, through llama-cpp-python's low-level API.

Everything that would abort the process inside the C library is checked here, before the call.
`llama_cpp.Llama`, the high-level class, is not used: it copies logits and batches.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
from numpy.typing import NDArray

from ..errors import AbortedError, ContextFullError, ModelFileError, TrimixError
from ..files import Closing
from ..gguf import read_adapter
from ..quant import BOUNDS, EXACT_CACHE, check_bounds, check_cache_fits
from .backend import (
    Batch,
    flash_type,
    get_logits,
    interrupts_deferred,
    kv_type,
    leaves,
    note_fast_decode,
    path_bytes,
    physical_cores,
    take_reason,
)
from .model import Model

MAX_SEQ = BOUNDS["n_parallel"][1]
# Cells of a cache, with room for llama.cpp's own sums in 32 bits.
_MOST_CELLS = 1 << 30


class Context(Closing):
    """One KV cache and one place for logits, on a `Model`.

    Args:
        n_ctx: tokens that each sequence may have.
        n_batch: most tokens of one `decode`.
        n_ubatch: most tokens that llama.cpp computes at a time.
        n_seq_max: sequences, numbered from 0; at most 256.
        n_cells: tokens that all sequences together have where they share beginnings; by default as
            many as all may have.
        n_outputs_max: most logits rows of one `decode`; bounds the logits buffer.
        n_threads: CPU threads; the physical cores by default.
        flash_attn: None leaves it to llama.cpp; a quantized V cache and `exact` need it.
        type_k, type_v: types of the KV cache, names of `KV_TYPES`; by default F16, and
            `EXACT_CACHE`, the only one that an exact model takes.
        lora: a GGUF adapter for this context alone, with its scale.

    Raises:
        TrimixError: values that do not go together, or no memory for the cache.
    """

    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int,
        n_batch: int = 512,
        n_ubatch: int = 512,
        n_seq_max: int = 1,
        n_outputs_max: int | None = None,
        n_cells: int | None = None,
        n_threads: int | None = None,
        flash_attn: bool | None = None,
        type_k: str | None = None,
        type_v: str | None = None,
        lora: tuple[str | Path, float] | None = None,
    ) -> None:
        if model.vocab_only:
            raise TrimixError(f"{model.path}: was loaded without its weights")
        if not 1 <= n_seq_max <= MAX_SEQ:
            raise TrimixError(f"at most {MAX_SEQ} sequences run at once, not {n_seq_max}")
        if n_ctx < 1 or n_batch < 1 or n_ubatch < 1:
            raise TrimixError("context, batch and micro-batch must be at least 1 token")
        if n_ctx * n_seq_max > _MOST_CELLS:
            raise TrimixError(
                f"{n_seq_max} contexts of {n_ctx} tokens are more than llama.cpp counts"
            )
        check_bounds("n_threads", n_threads or 0)
        usual = EXACT_CACHE if model.exact else "f16"
        self.type_k, self.type_v = type_k or usual, type_v or usual
        if model.exact and {self.type_k, self.type_v} != {EXACT_CACHE}:
            raise TrimixError(f"exact mode needs KV caches of the type {EXACT_CACHE}")
        # ggml multiplies a float matrix with a single column by another kernel than with several.
        # So in exact mode a companion token, in a sequence of its own, makes it always several.
        headers = [model.header] + ([read_adapter(lora[0], model.header)] if lora else [])
        floats = [header.path for header in headers if header.has_float_matrices]
        self._companion = model.exact and bool(floats)
        if self._companion and n_seq_max > 1:
            raise TrimixError(
                f"{floats[0]}: --exact with several sequences at once needs quantized weights "
                "(Q8_0 or smaller)"
            )
        # One cache for all sequences can share prefixes. In exact mode each has its own, so that
        # its cells stay in the order of its positions whoever came and went before.
        self.kv_unified = not model.exact or n_seq_max == 1
        self.model = model
        # Where all layers are on servers, threads would only be in the way of other models'.
        alone = model.remote and model.offloaded
        self.n_threads = 1 if alone else n_threads or physical_cores()
        self.n_ctx, self.n_seq_max = n_ctx, n_seq_max
        n_cells = n_cells if n_cells and self.kv_unified else n_ctx * n_seq_max
        params = self._params(n_cells, n_batch, n_ubatch, n_outputs_max or n_seq_max, flash_attn)
        if not model.remote:
            check_cache_fits(model.header, params.n_ctx, self.type_k, self.type_v)
        take_reason()
        with interrupts_deferred():
            handle = lib.llama_init_from_model(model.handle, params)
            self._leave = ctypes.create_string_buffer(2)
            if handle and model.loaded:
                self._free = model.loaded.context(self, handle, self._leave)
        if not handle:
            raise TrimixError(
                f"{model.path}: no context of {n_ctx} tokens could be made ({take_reason()}); "
                "a smaller -c, or -ctk and -ctv q8_0, needs less memory"
            )
        self._handle: object | None = handle
        lib.llama_set_abort_callback(handle, leaves, ctypes.addressof(self._leave))
        self._memory = lib.llama_get_memory(handle)
        self.n_batch = int(lib.llama_n_batch(handle)) - self._companion
        self.n_outputs_max = int(params.n_outputs_max) - self._companion
        self.n_outputs = 0
        # Where the last rows were, and the view of them.
        self._rows = (0, 0), np.empty((0, model.n_vocab), np.float32)
        self._batch = Batch(self.n_batch + self._companion)
        if lora is not None:
            self._attach_lora(*lora)

    def _params(
        self,
        n_cells: int,
        n_batch: int,
        n_ubatch: int,
        n_outputs_max: int,
        flash_attn: bool | None,
    ) -> Any:
        """The `llama_context_params`."""
        extra = int(self._companion)
        params = lib.llama_context_default_params()
        params.n_ctx = n_cells + extra
        # A step has a token of each sequence; llama.cpp aborts where a batch cannot hold them.
        params.n_batch = max(min(n_batch, self.n_ctx), self.n_seq_max) + extra
        # A micro-batch must not cut the companion off.
        params.n_ubatch = params.n_batch if extra else min(n_ubatch, params.n_batch)
        params.n_seq_max = self.n_seq_max + extra
        params.n_outputs_max = min(n_outputs_max + extra, params.n_batch)
        params.n_threads = params.n_threads_batch = self.n_threads
        params.type_k, params.type_v = kv_type(self.type_k), kv_type(self.type_v)
        params.flash_attn_type = flash_type(flash_attn, self.type_v, self.model.exact)
        params.kv_unified = self.kv_unified
        params.no_perf = True
        return params

    @property
    def handle(self) -> object:
        """The `llama_context *`; raises ValueError when the context or its model is closed."""
        if self._handle is None or self.model.loaded is None:
            raise ValueError("the context is closed")
        return self._handle

    def decode(
        self,
        tokens: NDArray[np.int32],
        positions: NDArray[np.int32],
        sequences: NDArray[np.int32],
        outputs: NDArray[np.bool_],
    ) -> None:
        """Evaluate one batch; all arrays have the shape [n_tokens].

        Logits come for the tokens whose `outputs` is True, in the batch's order. The tokens of a
        sequence must follow its cache without a gap.

        Raises:
            ContextFullError: no cells are left; the cache is as it was.
            AbortedError: it was left; nothing of it is in the cache, where that can be cut.
            TrimixError: llama.cpp refused or failed.
            ValueError: a batch that would abort inside llama.cpp.
        """
        n_outputs = int(np.count_nonzero(outputs))
        self._check(tokens, sequences, n_outputs)
        if self._companion:
            tokens, positions = np.append(tokens, tokens[-1]), np.append(positions, 0)
            sequences, outputs = np.append(sequences, self.n_seq_max), np.append(outputs, True)
        try:
            self._run(self._batch.fill(tokens, positions, sequences, outputs), n_outputs)
        except AbortedError:
            for sequence in np.unique(sequences).tolist():
                start = int(positions[sequences == sequence].min())
                lib.llama_memory_seq_rm(self._memory, sequence, start, -1)
            raise

    def step(self, token: int, position: int, sequence: int) -> None:
        """As `decode`, of one token whose logits are wanted: plain stepping, without arrays."""
        if self._companion:
            ids = np.array([[token], [position], [sequence]], np.int32)
            self.decode(ids[0], ids[1], ids[2], np.ones(1, bool))
            return
        if not 0 <= token < self.model.n_vocab:
            raise ValueError(f"a token is not in the vocabulary of {self.model.n_vocab}")
        self._check_sequence(sequence)
        self._run(self._batch.fill_one(token, position, sequence), 1)

    def abort(self) -> None:
        """Leave the batch that another thread is decoding, or the next one; on the CPU."""
        self._leave[0] = b"\1"

    def go_on(self) -> None:
        """The next batch is not to be left."""
        self._leave[0] = b"\0"

    def _run(self, batch: object, n_outputs: int) -> None:
        handle, self.n_outputs = self.handle, 0
        if not self.model.exact:
            note_fast_decode()
        code = lib.llama_decode(handle, batch)
        if self._companion:
            lib.llama_memory_seq_rm(self._memory, self.n_seq_max, 0, -1)
        if code == 1:
            raise ContextFullError(
                f"the context of {self.n_ctx} tokens is full; a larger -c makes room"
            )
        if code == 2:
            raise AbortedError(f"{self.model.path}: the batch was left")
        if code != 0:
            raise TrimixError(f"{self.model.path}: llama.cpp failed to decode (code {code})")
        self.n_outputs = n_outputs

    def _check(
        self, tokens: NDArray[np.int32], sequences: NDArray[np.int32], n_outputs: int
    ) -> None:
        if not 1 <= len(tokens) <= self.n_batch:
            raise ValueError(f"a batch holds 1 to {self.n_batch} tokens, not {len(tokens)}")
        if n_outputs > self.n_outputs_max:
            raise ValueError(f"{n_outputs} logits rows asked for, room for {self.n_outputs_max}")
        # As unsigned numbers negative ones are large: one look instead of two.
        if tokens.view(np.uint32).max() >= self.model.n_vocab:
            raise ValueError(f"a token is not in the vocabulary of {self.model.n_vocab}")
        if sequences.view(np.uint32).max() >= self.n_seq_max:
            raise ValueError(f"sequences are numbered 0 to {self.n_seq_max - 1}")

    def logits(self) -> NDArray[np.float32]:
        """Logits of the last `decode`, shape [n_outputs, n_vocab]: a view into llama.cpp's memory.

        Valid until the next `decode` on this context.
        """
        if self.n_outputs == 0:
            return np.empty((0, self.model.n_vocab), np.float32)
        address = get_logits(self.handle)
        if not address:
            raise TrimixError(f"{self.model.path}: llama.cpp gave no logits")
        if self._rows[0] != (address, self.n_outputs):  # making a view takes time
            shape = (self.n_outputs, self.model.n_vocab)
            pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_float))
            self._rows = (address, self.n_outputs), np.ctypeslib.as_array(pointer, shape=shape)
        return self._rows[1]

    def remove(self, sequence: int, start: int, stop: int = -1) -> bool:
        """Take positions [start, stop) of a sequence out of the cache; -1 means to the end.

        False: this kind of cache cannot be rolled back to there (recurrent models).
        """
        self._check_sequence(sequence)
        return bool(lib.llama_memory_seq_rm(self._memory, sequence, start, stop))

    def copy(self, source: int, target: int, start: int = 0, stop: int = -1) -> None:
        """Share positions [start, stop) of `source` with `target`, which must be empty there."""
        self._check_sequence(source)
        self._check_sequence(target)
        if not self.kv_unified:
            if start > 0 or -1 < stop <= self.last_position(source):
                raise ValueError("caches of their own can only be copied whole")
            start = stop = -1  # llama.cpp takes only this for "whole", and aborts otherwise
        lib.llama_memory_seq_cp(self._memory, source, target, start, stop)

    def last_position(self, sequence: int) -> int:
        """The last cached position of a sequence, -1 when it is empty."""
        self._check_sequence(sequence)
        return int(lib.llama_memory_seq_pos_max(self._memory, sequence))

    def clear(self) -> None:
        """Empty the cache of every sequence."""
        _ = self.handle
        lib.llama_memory_clear(self._memory, False)

    def _check_sequence(self, sequence: int) -> None:
        _ = self.handle
        if not 0 <= sequence < self.n_seq_max:
            raise ValueError(f"sequence {sequence} is not among 0 to {self.n_seq_max - 1}")

    def _attach_lora(self, path: str | Path, scale: float) -> None:
        take_reason()
        with interrupts_deferred():
            adapter = lib.llama_adapter_lora_init(self.model.handle, path_bytes(Path(path)))
        if not adapter:
            self.close()
            raise ModelFileError(f"{path}: does not fit {self.model.path.name} ({take_reason()})")
        adapters = (lib.llama_adapter_lora_p_ctypes * 1)(adapter)
        if lib.llama_set_adapters_lora(self.handle, adapters, 1, (ctypes.c_float * 1)(scale)):
            self.close()
            raise TrimixError(f"{path}: llama.cpp cannot apply it")

    def close(self) -> None:
        """Free the cache; harmless when done twice. Views of the logits die with it."""
        self._handle = None
        self._free()
