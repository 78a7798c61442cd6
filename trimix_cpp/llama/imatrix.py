"""An importance matrix from a model and a text, as llama-imatrix computes it.

A sibling of `llama`. llama.cpp calls back for every node of its graph (`cb_eval`); what goes into a
matrix product is read there. llama-cpp-python declares the callback but not `ggml_tensor`, which it
is given: the struct is declared here, and checked field by field against ggml's own functions
before the first use.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
from llama_cpp._ctypes_extensions import load_shared_library
from llama_cpp._ggml import libggml_base_path
from numpy.typing import NDArray

from ..errors import TrimixError
from ..gguf import F32, Entry, ImatrixError, ImportanceMatrix
from ..quant import Options, estimate, free_memory
from ..showing import Progress, count, size_text
from .backend import (
    Batch,
    interrupts_deferred,
    note_fast_decode,
    physical_cores,
    take_reason,
)
from .model import Model

# llama-imatrix passes over products of fewer tokens (tools/imatrix/imatrix.cpp).
MIN_TOKENS = 16
_OBJECT_SIZE = 32  # ggml.c, `struct ggml_object`, which ggml_tensor_overhead() counts too


class _Tensor(ctypes.Structure):
    """`struct ggml_tensor` (ggml.h)."""


_Tensor._fields_ = [
    ("type", ctypes.c_int),
    ("buffer", ctypes.c_void_p),
    ("ne", ctypes.c_int64 * 4),
    ("nb", ctypes.c_size_t * 4),
    ("op", ctypes.c_int),
    ("op_params", ctypes.c_int32 * 16),
    ("flags", ctypes.c_int32),
    ("src", ctypes.POINTER(_Tensor) * 10),
    ("view_src", ctypes.c_void_p),
    ("view_offs", ctypes.c_size_t),
    ("data", ctypes.c_void_p),
    ("name", ctypes.c_char * 64),
    ("extra", ctypes.c_void_p),
    ("padding", ctypes.c_char * 8),
]


class _InitParams(ctypes.Structure):
    """`struct ggml_init_params` (ggml.h)."""

    _fields_ = [
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    ]


def collect(
    model: Model,
    text: str,
    dataset: str,
    *,
    chunk_size: int = 512,
    max_chunks: int | None = None,
    process_output: bool = False,
    n_threads: int | None = None,
    progress: Progress | None = None,
) -> ImportanceMatrix:
    """Run `text` through `model` in chunks, and sum up what goes into its matrices.

    Args:
        model: a loaded model, best one that is not quantized, or to Q8_0.
        text: text of the kind that the model is meant for.
        dataset: the name of the text, for the file.
        chunk_size: tokens that are read together, at least 16.
        max_chunks: read no more than so many.
        process_output: `output.weight` too, where the model has one.
        n_threads: the physical cores by default.
        progress: called with (chunks done, chunks in all).

    Raises:
        ImatrixError: too little text, a mixture of experts, or numbers that are not finite.
        TrimixError: no memory, or llama.cpp failed.
    """
    if model.header.metadata.get(f"{model.header.architecture}.expert_count"):
        raise ImatrixError(f"{model.path}: is a mixture of experts; use llama.cpp's llama-imatrix")
    if chunk_size < MIN_TOKENS:
        raise ImatrixError(f"a chunk has at least {MIN_TOKENS} tokens")
    tokens = np.asarray(model.tokenize(text, add_special=True), np.int32)
    n_chunks = min(len(tokens) // chunk_size, max_chunks or len(tokens))
    if n_chunks == 0:
        raise ImatrixError(
            f"{dataset}: has {count(len(tokens), 'token')}, and a chunk is {chunk_size}: give more "
            "text, or a smaller -c"
        )
    if progress:
        progress(0, n_chunks)
    collector = _Collector(process_output)
    with _Run(model, chunk_size, n_threads, collector) as run:
        for index in range(n_chunks):
            chunk = tokens[index * chunk_size :][:chunk_size].copy()
            if model.adds_bos:
                chunk[0] = model.bos
            run.decode(chunk)
            if progress:
                progress(index + 1, n_chunks)
    return ImportanceMatrix(collector.entries(), (dataset,), n_chunks, chunk_size)


class _Run:
    """A context that reports every node of its graph to `collector`; a context manager."""

    def __init__(
        self, model: Model, size: int, n_threads: int | None, collector: _Collector
    ) -> None:
        self.path, self.collector = model.path, collector
        options = Options(n_ctx=size, n_outputs=size)
        needed = estimate({"large": model.header}, options, loaded=True).private
        if needed > (free := free_memory()):
            raise ImatrixError(
                f"{model.path}: chunks of {size} tokens need {size_text(needed)} and "
                f"{size_text(free)} are free; a smaller -c needs less"
            )
        # Kept for as long as the context: ctypes does not.
        self.callback = lib.ggml_backend_sched_eval_callback(collector)
        params = lib.llama_context_default_params()
        params.n_ctx = params.n_batch = size
        params.n_ubatch = min(size, 512)
        params.n_threads = params.n_threads_batch = n_threads or physical_cores()
        params.cb_eval, params.no_perf = self.callback, True
        take_reason()
        with interrupts_deferred():
            self.handle = lib.llama_init_from_model(model.handle, params)
            if self.handle and model.loaded:
                self._free = model.loaded.context(self, self.handle, self.callback)
        if not self.handle:
            raise TrimixError(f"{model.path}: no context could be made ({take_reason()})")
        self.memory, self.batch = lib.llama_get_memory(self.handle), Batch(size)
        # Python delivers Ctrl-C to the main thread alone. There it would now and then strike
        # between C and the callback's first line, and be lost.
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="trimix-imatrix")

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.collector.stopped = True
        self.thread.shutdown()
        self._free()

    def decode(self, tokens: NDArray[np.int32]) -> None:
        """Evaluate one chunk from an empty cache."""
        note_fast_decode()
        lib.llama_memory_clear(self.memory, True)
        n = len(tokens)
        # With fewer outputs llama.cpp would pass only their rows through the last layer.
        batch = self.batch.fill(
            tokens, np.arange(n, dtype=np.int32), np.zeros(n, np.int32), np.ones(n, np.bool_)
        )
        # An interrupted start would leave a thread that nobody waits for.
        with interrupts_deferred():
            evaluated = self.thread.submit(lib.llama_decode, self.handle, batch)
        code = evaluated.result()
        if self.collector.error:
            raise self.collector.error
        if code != 0:
            raise TrimixError(f"{self.path}: llama.cpp failed to decode (code {code})")


class _Collector:
    """The callback: `ask` says whether a node is wanted, the second call has its inputs ready."""

    def __init__(self, process_output: bool) -> None:
        self.error: Exception | None = None
        self.stopped = False
        self._ggml, self._mul_mat = _ggml(), _checked_mul_mat()
        self._process_output = process_output
        self._sums: dict[str, NDArray[np.float64]] = {}
        self._counts: dict[str, float] = {}

    def __call__(self, address: int, ask: bool, _user_data: Any) -> bool:
        # Nothing may be raised into C; False stops the graph, and the caller of decode raises.
        try:
            if self.stopped:
                return False
            tensor = _Tensor.from_address(address)
            if ask:
                return self._wants(tensor)
            self._add(tensor)
            return True
        except Exception as error:
            self.error, self.stopped = error, True
            return False

    def entries(self) -> dict[str, Entry]:
        """What was summed up, by the names of the weights."""
        # One count for a stack of matrices, which all saw the same tokens: as llama-imatrix has it.
        return {
            name: Entry(
                sums.astype(np.float32).reshape(1, -1), np.asarray([self._counts[name]], np.float32)
            )
            for name, sums in self._sums.items()
        }

    def _wants(self, tensor: _Tensor) -> bool:
        if tensor.op != self._mul_mat:
            return False
        inputs = tensor.src[1].contents
        if inputs.ne[1] < MIN_TOKENS or inputs.type != F32:
            return False
        name = _weight_name(tensor)
        return name.startswith("blk.") or (self._process_output and name == "output.weight")

    def _add(self, tensor: _Tensor) -> None:
        weight, inputs = tensor.src[0].contents, tensor.src[1].contents
        name, rows = _weight_name(tensor), self._read(inputs)
        n3, n2, _, n_columns = rows.shape
        w2, w3 = weight.ne[2], weight.ne[3]
        sums = self._sums.setdefault(name, np.zeros((w2 * w3, n_columns)))
        if sums.shape[1] != n_columns:
            raise ImatrixError(f"{name}: its inputs change in width")
        for i3 in range(n3):
            for i2 in range(n2):
                matrix = (i3 % w3) * w2 + i2 % w2
                sums[matrix] += np.square(rows[i3, i2], dtype=np.float64).sum(axis=0)
        if not np.isfinite(sums).all():
            raise ImatrixError(
                f"{name}: its inputs are not finite; the model or the text is broken"
            )
        count = rows.size // n_columns // (w2 * w3)
        self._counts[name] = self._counts.get(name, 0) + count

    def _read(self, tensor: _Tensor) -> NDArray[np.float32]:
        """The values, shape [ne3, ne2, ne1, ne0], from whatever device they are on."""
        pointer = ctypes.byref(tensor)
        size = self._ggml.ggml_nbytes(pointer)
        raw = np.empty(size, np.uint8)
        self._ggml.ggml_backend_tensor_get(pointer, raw.ctypes.data_as(ctypes.c_void_p), 0, size)
        shape, strides = tuple(reversed(tensor.ne)), tuple(reversed(tensor.nb))
        rows: NDArray[np.float32] = np.ndarray(shape, np.float32, raw, strides=strides)
        return rows


def _weight_name(tensor: _Tensor) -> str:
    """Its weight's name; "CUDA0#blk.0.attn_k.weight#0" is a copy of blk.0.attn_k.weight."""
    name = bytes(tensor.src[0].contents.name).decode("utf-8", "replace")
    return name.split("#")[1] if "#" in name else name


@cache
def _ggml() -> Any:
    """libggml-base with the signatures of what is used here."""
    ggml, pointer = load_shared_library("ggml-base", libggml_base_path), ctypes.POINTER(_Tensor)
    for name, result, arguments in (
        ("ggml_init", ctypes.c_void_p, [_InitParams]),
        ("ggml_free", None, [ctypes.c_void_p]),
        ("ggml_tensor_overhead", ctypes.c_size_t, []),
        ("ggml_new_tensor_2d", pointer, [ctypes.c_void_p, ctypes.c_int] + 2 * [ctypes.c_int64]),
        ("ggml_mul_mat", pointer, [ctypes.c_void_p, pointer, pointer]),
        ("ggml_view_tensor", pointer, [ctypes.c_void_p, pointer]),
        ("ggml_set_name", pointer, [pointer, ctypes.c_char_p]),
        ("ggml_get_name", ctypes.c_void_p, [pointer]),
        ("ggml_get_data", ctypes.c_void_p, [pointer]),
        ("ggml_op_name", ctypes.c_char_p, [ctypes.c_int]),
        ("ggml_nbytes", ctypes.c_size_t, [pointer]),
        ("ggml_backend_tensor_get", None, [pointer, ctypes.c_void_p] + 2 * [ctypes.c_size_t]),
    ):
        function = getattr(ggml, name)
        function.restype, function.argtypes = result, arguments
    return ggml


@cache
def _checked_mul_mat() -> int:
    """The number of GGML_OP_MUL_MAT, after a look whether `_Tensor` is what ggml has.

    Raises:
        ImatrixError: it is not, so that nothing can be read from llama.cpp's graph.
    """
    ggml = _ggml()
    overhead = ggml.ggml_tensor_overhead()
    context = ggml.ggml_init(_InitParams(16 * overhead, None, False))
    try:
        a, b = (ggml.ggml_new_tensor_2d(context, F32, 5, rows) for rows in (3, 2))
        product = ggml.ggml_mul_mat(context, a, b)
        view = ggml.ggml_view_tensor(context, a)
        ggml.ggml_set_name(product, b"blk.0.x")
        found, inner = product.contents, b.contents
        same = (
            ctypes.sizeof(_Tensor) + _OBJECT_SIZE == overhead
            and list(inner.ne) == [5, 2, 1, 1]
            and list(inner.nb) == [4, 20, 40, 40]
            and list(found.ne) == [3, 2, 1, 1]
            and found.type == F32
            and _address(found.src[0]) == _address(a)
            and _address(found.src[1]) == _address(b)
            and not any(found.src[index] for index in range(2, 10))
            and view.contents.view_src == _address(a)
            and inner.data == ggml.ggml_get_data(b)
            and ctypes.addressof(found) + _Tensor.name.offset == ggml.ggml_get_name(product)
            and found.name == b"blk.0.x"
            and 0 < found.op < 512
            and ggml.ggml_op_name(found.op) == b"MUL_MAT"
        )
        operation = int(found.op)
    finally:
        ggml.ggml_free(context)
    if not same:
        raise ImatrixError(
            "this llama-cpp-python lays out tensors in another way than version 0.3.36, which "
            "importance matrices need"
        )
    return operation


def _address(pointer: Any) -> int:
    return ctypes.addressof(pointer.contents)
