"""One GGUF file, loaded by llama.cpp: its tokenizer and its weights."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

import llama_cpp.llama_cpp as lib

from ..errors import ModelFileError, TrimixError
from ..files import Closing
from ..gguf import Header, read_header
from . import rpc
from .backend import (
    freed_once,
    interrupts_deferred,
    may_repack,
    path_bytes,
    require_exact,
    take_reason,
)
from .ggml import supports_gpu
from .pages import Pages


class Loaded:
    """A `llama_model *`, which is freed after the contexts on it.

    `free` is for who closes: what frees when it is forgotten swallows a Ctrl-C.
    """

    def __init__(self, handle: object) -> None:
        self.handle, self.contexts = handle, 0
        self.free = freed_once(self, lib.llama_model_free, handle)

    def context(self, owner: object, handle: object, *alive: object) -> Callable[[], object]:
        """What frees a `llama_context *` of `owner` on this model; see `freed_once`."""
        self.contexts += 1
        return freed_once(owner, self._free_context, handle, *alive)

    def _free_context(self, handle: object) -> None:
        try:
            lib.llama_free(handle)
        finally:
            self.contexts -= 1


class Model(Closing):
    """One GGUF file, loaded.

    Args:
        path: the file; its header is checked before llama.cpp sees it.
        n_gpu_layers: layers on the GPU, or on `servers`; negative for all.
        vocab_only: load the tokenizer alone, no weights.
        exact: keep the weights unpacked and the kernels row by row, on the CPU, so that the size
            of a batch does not change the logits (slower). Every model of a process must agree.
        mlock: keep the weights in RAM.
        servers: RPC servers, `host:port`, whose devices take the layers in a GPU's place.

    Attributes:
        remote: layers are on servers. When one is lost llama.cpp aborts the process.

    Raises:
        ModelFileError: the file is missing, broken, or llama.cpp cannot load it.
        TrimixError: `exact` after a fast decode in the same process, or a server that is none.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        n_gpu_layers: int = -1,
        vocab_only: bool = False,
        exact: bool = False,
        mlock: bool = False,
        servers: Sequence[str] = (),
    ) -> None:
        self.path = Path(path)
        self.header: Header = read_header(self.path)
        if not (vocab_only or self.header.tensors):
            raise ModelFileError(f"{self.path}: holds a tokenizer alone, and no weights")
        self.exact, self.vocab_only = exact, vocab_only
        self.n_gpu_layers = 0 if exact else n_gpu_layers
        self.remote = bool(servers and self.n_gpu_layers and not vocab_only)
        if exact:
            require_exact()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = self.n_gpu_layers
        params.vocab_only = vocab_only
        # Whether llama.cpp may copy weights into the order that its kernels want.
        self.repacks = not exact and may_repack(self.header)
        params.use_extra_bufts = self.repacks
        if self.remote:
            # The tokens' embeddings stay here.
            tensors = [t for t in self.header.tensors if t.name != "token_embd.weight"]
            needed = sum(t.nbytes for t in tensors) if self.offloaded else 0
            devices = rpc.devices(servers, needed)
            params.devices = ctypes.cast(devices, ctypes.c_void_p)
        if mlock:
            params.load_mode = lib.LLAMA_LOAD_MODE_MMAP_MLOCK
        take_reason()
        pages = Pages(self.path)
        with interrupts_deferred() as interrupts:

            @lib.llama_progress_callback  # type: ignore[untyped-decorator]
            def goes_on(_progress: float, _user_data: object) -> bool:
                if self.repacks and not mlock:
                    pages.drop()
                return not interrupts

            params.progress_callback = goes_on
            handle = lib.llama_model_load_from_file(path_bytes(self.path), params)
            self.loaded: Loaded | None = Loaded(handle) if handle else None
        if self.loaded is None:
            raise ModelFileError(
                f"{self.path}: llama.cpp cannot load this {self.header.architecture} model "
                f"({take_reason()})"
            )
        self._vocab = lib.llama_model_get_vocab(handle)
        self.n_vocab = int(lib.llama_vocab_n_tokens(self._vocab))
        if self.n_vocab == 0:
            self.close()
            raise ModelFileError(f"{self.path}: holds no vocabulary")
        # Of a tokenizer alone llama.cpp does not read it.
        self.n_ctx_train = (
            self.header.number("context_length")
            if vocab_only
            else int(lib.llama_model_n_ctx_train(handle))
        )

    @property
    def handle(self) -> object:
        """The `llama_model *`; raises ValueError when the model is closed."""
        if self.loaded is None:
            raise ValueError("the model is closed")
        return self.loaded.handle

    @property
    def offloaded(self) -> bool:
        """Whether a device works on it beside this machine's CPU.

        Of a model on servers all layers must be there: what is left here takes all threads.
        """
        if self.remote:
            return not 0 < self.n_gpu_layers <= self.header.number("block_count")
        return bool(self.n_gpu_layers and supports_gpu())

    @property
    def n_bytes(self) -> int:
        """Bytes of all tensors."""
        return int(lib.llama_model_size(self.handle))

    @property
    def n_params(self) -> int:
        """Parameters."""
        return int(lib.llama_model_n_params(self.handle))

    @property
    def has_float_matrices(self) -> bool:
        """Whether some matrix is not quantized: its products change with the size of a batch."""
        return self.header.has_float_matrices

    @property
    def chat_template(self) -> str | None:
        """The Jinja chat template in the metadata: untrusted text."""
        value = self.header.metadata.get("tokenizer.chat_template")
        return value if isinstance(value, str) else None

    @property
    def adds_bos(self) -> bool:
        """Whether tokenizing with `add_special` puts the BOS token first."""
        return bool(lib.llama_vocab_get_add_bos(self._vocab))

    @property
    def adds_eos(self) -> bool:
        """Whether tokenizing with `add_special` puts the EOS token last."""
        return bool(lib.llama_vocab_get_add_eos(self._vocab))

    @property
    def bos(self) -> int:
        """The id of the BOS token, -1 for none."""
        return int(lib.llama_vocab_bos(self._vocab))

    @property
    def eos(self) -> int:
        """The id of the EOS token, -1 for none."""
        return int(lib.llama_vocab_eos(self._vocab))

    def end_of_generation(self) -> frozenset[int]:
        """Every id that llama.cpp takes for an end of generation (`llama_vocab_is_eog`)."""
        is_eog, vocab = lib.llama_vocab_is_eog, self._vocab
        return frozenset(i for i in range(self.n_vocab) if is_eog(vocab, i))

    def tokenize(
        self, text: str, *, add_special: bool = False, parse_special: bool = False
    ) -> list[int]:
        """Ids of `text`; `add_special` adds BOS and the like as the model's metadata wants it.

        `parse_special` reads the names of control tokens in the text as these tokens.
        """
        raw = text.encode("utf-8")
        size = len(raw) + 8
        buffer = (lib.llama_token * size)()
        count = lib.llama_tokenize(
            self._vocab, raw, len(raw), buffer, size, add_special, parse_special
        )
        if count < 0:  # more tokens than bytes: only where a space prefix and specials are added
            size = -count
            buffer = (lib.llama_token * size)()
            count = lib.llama_tokenize(
                self._vocab, raw, len(raw), buffer, size, add_special, parse_special
            )
        if count < 0:
            raise TrimixError(f"{self.path}: llama.cpp cannot tokenize the text")
        return list(buffer[:count])

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token: perhaps half a character; control tokens only if `special`."""
        if not 0 <= token < self.n_vocab:
            raise ValueError(f"token {token} is not in the vocabulary of {self.n_vocab}")
        size = 64
        buffer = ctypes.create_string_buffer(size)
        count = lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, special)
        if count < 0:
            size = -count
            buffer = ctypes.create_string_buffer(size)
            count = lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, special)
        return buffer.raw[: max(count, 0)]

    def pieces(self) -> list[bytes]:
        """The bytes of every token, as `piece` gives them; empty for control tokens."""
        size = 1 << 12
        buffer, found = ctypes.create_string_buffer(size), list[bytes]()
        to_piece, vocab = lib.llama_token_to_piece, self._vocab
        for token in range(self.n_vocab):
            count = to_piece(vocab, token, buffer, size, 0, False)
            found.append(ctypes.string_at(buffer, count) if count >= 0 else self.piece(token))
        return found

    def close(self) -> None:
        """Free the model, once the last of its contexts is; harmless when done twice."""
        loaded, self.loaded = self.loaded, None
        if loaded and not loaded.contexts:
            loaded.free()
