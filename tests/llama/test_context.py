"""Models and contexts of llama.cpp, on tiny files that it really loads."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from trimix_cpp.errors import ContextFullError, ModelFileError, TrimixError
from trimix_cpp.llama import backend
from trimix_cpp.llama.context import Context
from trimix_cpp.llama.model import Model

from ..support.tiny import write_lora, write_tiny_model

TEXTS = ["Open the file", "ھۆججەتنى ئاچ", "བོད་སྐད་", "a\0b", "👩🏽‍🚀", "", " \n\t "]


@pytest.fixture
def model(tiny_files: dict[str, Path]) -> Model:
    return Model(tiny_files["base"])


def arrays(
    tokens: list[int], start: int = 0, sequence: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n = len(tokens)
    return (
        np.array(tokens, np.int32),
        np.arange(start, start + n, dtype=np.int32),
        np.full(n, sequence, np.int32),
        np.ones(n, bool),
    )


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_the_text(model: Model, text: str) -> None:
    tokens = model.tokenize(text)
    assert b"".join(map(model.piece, tokens)).decode() == text


def test_control_tokens_are_read_only_when_asked(model: Model) -> None:
    (end,) = model.tokenize("<|im_end|>", parse_special=True)
    assert end in model.end_of_generation()
    assert model.piece(end) == b""
    assert model.piece(end, special=True) == b"<|im_end|>"
    assert len(model.tokenize("<|im_end|>")) > 1


def test_long_pieces_are_whole(tmp_path: Path) -> None:
    piece = "a" * 2
    merges = []
    while len(piece) <= 128:
        merges.append(f"{piece[: len(piece) // 2]} {piece[len(piece) // 2 :]}")
        piece *= 2
    model = Model(write_tiny_model(tmp_path / "long.gguf", merges=merges))
    (token,) = model.tokenize("a" * 128)
    assert model.piece(token) == b"a" * 128


def test_roll_back_and_copy_give_the_same_logits(model: Model) -> None:
    tokens = model.tokenize("ھۆججەتنى ئاچ")
    with Context(model, n_ctx=256, n_seq_max=2, n_outputs_max=64, n_threads=1) as context:
        context.decode(*arrays(tokens))
        first = context.logits().copy()
        assert context.last_position(0) == len(tokens) - 1
        assert context.remove(0, 3)
        context.copy(0, 1)
        assert context.last_position(1) == 2
        for sequence in (0, 1):
            context.decode(*arrays(tokens[3:], 3, sequence))
            np.testing.assert_allclose(context.logits(), first[3:], atol=2e-2)
        context.clear()
        assert context.last_position(0) == context.last_position(1) == -1


def test_several_contexts_on_one_model_do_not_see_each_other(model: Model) -> None:
    tokens = model.tokenize("salam")
    one, two = (Context(model, n_ctx=256, n_outputs_max=8, n_threads=1) for _ in range(2))
    one.decode(*arrays(tokens))
    assert two.last_position(0) == -1
    before = one.logits().copy()
    two.decode(*arrays(tokens[::-1]))
    np.testing.assert_array_equal(one.logits(), before)


def test_logits_are_views(model: Model) -> None:
    context = Context(model, n_ctx=256, n_outputs_max=8, n_threads=1)
    context.decode(*arrays(model.tokenize("abc")))
    first, second = context.logits(), context.logits()
    assert not first.flags.owndata
    assert np.shares_memory(first, second)


def test_what_would_abort_the_process_is_an_error(model: Model) -> None:
    context = Context(model, n_ctx=256, n_batch=8, n_outputs_max=2, n_seq_max=2, n_threads=1)
    with pytest.raises(ValueError, match="1 to 8 tokens"):
        context.decode(*arrays([1] * 9))
    with pytest.raises(ValueError, match="1 to 8 tokens"):
        context.decode(*arrays([]))
    with pytest.raises(ValueError, match="3 logits rows"):
        context.decode(*arrays([1, 2, 3]))
    for token in (-1, model.n_vocab):
        with pytest.raises(ValueError, match="vocabulary"):
            context.decode(*arrays([token]))
    for sequence in (-1, 2):
        with pytest.raises(ValueError, match="numbered"):
            context.decode(*arrays([1], sequence=sequence))
        with pytest.raises(ValueError, match="sequence"):
            context.remove(sequence, 0)
        with pytest.raises(ValueError, match="sequence"):
            context.copy(0, sequence)
    context.decode(*arrays([1]))
    with pytest.raises(TrimixError, match="failed to decode"):
        context.decode(*arrays([1], start=5))  # a gap
    with pytest.raises(ValueError, match="vocabulary"):
        model.piece(model.n_vocab)
    context.decode(*arrays([1, 2], start=1))
    assert context.logits().shape == (2, model.n_vocab)


def test_a_full_context_is_an_error_and_stays_usable(model: Model) -> None:
    context = Context(model, n_ctx=256, n_batch=256, n_outputs_max=256, n_threads=1)
    context.decode(*arrays([1] * 256))
    with pytest.raises(ContextFullError, match="-c"):
        context.decode(*arrays([1], start=256))
    assert context.remove(0, 100)
    context.decode(*arrays([1], start=100))


def test_close_in_any_order_twice_and_after_errors(tiny_files: dict[str, Path]) -> None:
    model = Model(tiny_files["base"])
    context = Context(model, n_ctx=256)
    model.close()
    model.close()
    context.close()
    with pytest.raises(ValueError, match="closed"):
        context.decode(*arrays([1]))
    with pytest.raises(ValueError, match="closed"):
        Context(model, n_ctx=256)
    with pytest.raises(ZeroDivisionError), Model(tiny_files["base"]) as model:
        context = Context(model, n_ctx=256)
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="closed"):
        context.clear()
    del context, model
    gc.collect()


class Freed:
    """What llama.cpp freed, in order; Ctrl-C may come on the return from one of the calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.after = -1  # how many calls come before the one that is interrupted; -1: none is
        for name in ("llama_free", "llama_model_free"):
            monkeypatch.setattr(backend.lib, name, partial(self, name, getattr(backend.lib, name)))

    def __call__(self, name: str, free: Callable[[object], None], handle: object) -> None:
        free(handle)
        self.log.append(name)
        self.after -= 1
        if self.after == -1:
            raise KeyboardInterrupt


@pytest.fixture
def freed(monkeypatch: pytest.MonkeyPatch) -> Freed:
    return Freed(monkeypatch)


def test_ctrl_c_in_close_frees_nothing_twice(freed: Freed, tiny_files: dict[str, Path]) -> None:
    """The process died of it: freed first, forgotten after."""
    model = Model(tiny_files["base"])
    context = Context(model, n_ctx=256)
    for closing in (context, model):
        freed.after = 0
        with pytest.raises(KeyboardInterrupt):
            closing.close()
            gc.collect()
        closing.close()
    del context, model, closing
    gc.collect()
    assert freed.log == ["llama_free", "llama_model_free"]


def test_ctrl_c_while_a_context_is_made_frees_it_before_its_model(
    freed: Freed, tiny_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = backend.lib.llama_init_from_model

    def interrupted(*arguments: object) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return plain(*arguments)

    monkeypatch.setattr(backend.lib, "llama_init_from_model", interrupted)
    model = Model(tiny_files["base"])
    kept = None
    try:
        Context(model, n_ctx=256)
    except KeyboardInterrupt as error:
        kept = error  # its traceback keeps the half-made context
    assert kept is not None
    model.close()
    assert freed.log == []
    del kept
    gc.collect()
    assert freed.log == ["llama_free", "llama_model_free"]


def test_a_model_in_a_cycle_with_its_context_outlives_it(
    freed: Freed, tiny_files: dict[str, Path]
) -> None:
    context = Context(Model(tiny_files["base"]), n_ctx=256)
    context.model.mine = context  # type: ignore[attr-defined]
    del context
    gc.collect()
    assert freed.log == ["llama_free", "llama_model_free"]


def test_an_exact_model_takes_one_type_of_cache(tiny_files: dict[str, Path]) -> None:
    code = (
        "from trimix_cpp.llama import *; from trimix_cpp.errors import TrimixError\n"
        f"m = Model({str(tiny_files['base'])!r}, exact=True)\n"
        "print(Context(m, n_ctx=256).type_k, Context(m, n_ctx=256, type_v='q8_0').type_v)\n"
        "try: Context(m, n_ctx=256, type_k='f16')\n"
        "except TrimixError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "q8_0 q8_0\nexact mode needs KV caches of the type q8_0\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_seq_max": 257}, "at most 256"),
        ({"n_ctx": 1 << 24, "n_seq_max": 256}, "more than llama.cpp counts"),
        ({"n_threads": 100_000}, "n_threads is a whole number from 0 to 512"),
        ({"n_threads": -1}, "n_threads"),
        ({"n_ctx": 0}, "at least 1"),
        ({"n_ctx": 1 << 30}, "KV cache"),
        ({"type_k": "q9"}, "unknown KV cache type"),
        ({"type_v": "q8_0", "flash_attn": False}, "flash attention"),
    ],
)
def test_options_that_do_not_go_together(
    model: Model, options: dict[str, object], message: str
) -> None:
    with pytest.raises(TrimixError, match=message):
        Context(model, **{"n_ctx": 256, **options})  # type: ignore[arg-type]


def test_a_quantized_cache_needs_no_more_than_its_name(model: Model) -> None:
    tokens = model.tokenize("salam dunya")
    rows = []
    for kind in ("f16", "q8_0"):
        with Context(
            model, n_ctx=256, n_outputs_max=16, type_k=kind, type_v=kind, n_threads=1
        ) as context:
            context.decode(*arrays(tokens))
            rows.append(context.logits().copy())
    assert 0 < np.abs(rows[0] - rows[1]).max() < 2


def test_a_lora_changes_one_context_alone(model: Model, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "lora.gguf", n_embd=64)
    tokens = model.tokenize("salam")
    rows = []
    for lora in (None, (path, 0.0), (path, 1.0)):
        with Context(model, n_ctx=256, n_outputs_max=8, n_threads=1, lora=lora) as context:
            context.decode(*arrays(tokens))
            rows.append(context.logits().copy())
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)
    assert np.abs(rows[0] - rows[2]).max() > 0.1
    with pytest.raises(ModelFileError, match="not a LoRA adapter"):
        Context(model, n_ctx=256, lora=(model.path, 1.0))


def test_the_log_is_silent_unless_asked(tiny_files: dict[str, Path]) -> None:
    code = f"from trimix_cpp.llama import *; Context(Model({str(tiny_files['base'])!r}), n_ctx=256)"
    loud = "import logging; logging.basicConfig(level=logging.DEBUG);"
    for prefix, silent in (("", True), (loud, False)):
        done = subprocess.run([sys.executable, "-c", prefix + code], capture_output=True, text=True)
        assert done.returncode == 0
        assert done.stdout == ""
        assert (done.stderr == "") is silent
        assert silent or "trimix_cpp.llama" in done.stderr


def test_exact_after_fast_is_refused_in_one_process(tiny_files: dict[str, Path]) -> None:
    code = (
        "import sys; import numpy as np; from trimix_cpp.llama import *\n"
        "from trimix_cpp.errors import TrimixError\n"
        f"m = Model({str(tiny_files['base'])!r}); c = Context(m, n_ctx=256, n_threads=1)\n"
        "one = np.array([1], np.int32); c.decode(one, one - 1, one - 1, one > 0)\n"
        "try: Model(m.path, exact=True)\n"
        "except TrimixError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "before the first fast decode" in done.stdout
    assert done.stderr == ""
