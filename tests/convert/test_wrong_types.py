"""Checkpoints whose JSON holds anything anywhere: converted, or refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimix_cpp.convert import convert
from trimix_cpp.convert.lora import convert_lora
from trimix_cpp.errors import TrimixError
from trimix_cpp.showing import one_line

from .adapters import matrices, write_adapter

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]
HUGE = int("9" * 400)
# What a JSON file may hold where something else is expected.
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**32, 2**63, HUGE, -HUGE, 0.5, -0.0, 1e308,
    float("inf"), float("nan"), "", "x", "1", "\ud800", "\0", "a\nb", "../x", [], [[]], [1], ["x"],
    [None], {}, {"x": 1}, {"content": 1}, {"type": "x"}, {"type": "Sequence"}, [{}],
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a document; of long lists and tables the first few."""
    yield path
    if isinstance(value, dict):
        for key in list(value)[:60]:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 4)):
            yield from places(value[index], (*path, index))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def read(path: Path) -> Any:
    """A JSON file, or the header of a safetensors file."""
    raw = path.read_bytes()
    if path.suffix == ".safetensors":
        raw = raw[8 : 8 + int.from_bytes(raw[:8], "little")]
    return json.loads(raw)


def write(path: Path, value: Any) -> None:
    text = json.dumps(value).encode()
    if path.suffix == ".safetensors":
        raw = path.read_bytes()
        data = raw[8 + int.from_bytes(raw[:8], "little") :]
        text = len(text).to_bytes(8, "little") + text + data
    path.write_bytes(text)


# Keys that a checkpoint may have and ours lack.
MORE = {
    "config.json": ["rope_scaling", "rope_parameters", "text_config", "head_dim", "layer_types",
                    "quantization_config", "hidden_act", "sliding_window", "bos_token_id",
                    "final_logit_softcapping", "attention_bias", "rope_local_base_freq"],
    "tokenizer_config.json": ["chat_template", "added_tokens_decoder", "bos_token", "eos_token",
                              "add_bos_token", "add_prefix_space", "unk_token"],
    "tokenizer.json": ["post_processor", "normalizer", "added_tokens"],
    "generation_config.json": ["repetition_penalty", "temperature", "top_k", "eos_token_id"],
    "chat_template.json": ["chat_template"],
    "added_tokens.json": ["<new>"],
    "model.safetensors.index.json": ["weight_map", "metadata"],
}  # fmt: skip


def spoil(folder: Path, data: st.DataObject) -> None:
    """Put one to three values of the folder's JSON files wrong."""
    for _ in range(data.draw(st.integers(1, 3))):
        files = sorted(p.name for p in folder.iterdir() if p.suffix in (".json", ".safetensors"))
        name = data.draw(st.sampled_from(sorted({*files, *MORE})))
        path = folder / name
        value = read(path) if path.exists() else {}
        new = data.draw(st.sampled_from(ODD))
        if name in MORE and isinstance(value, dict) and data.draw(st.booleans()):
            key = data.draw(st.sampled_from(MORE[name]))
            value = {**value, key: new}
            if isinstance(new, dict) and data.draw(st.booleans()):
                value[key] = {data.draw(st.sampled_from(["rope_type", "factor", "x"])): new}
        else:
            value = changed(value, data.draw(st.sampled_from(list(places(value)))), new)
        write(path, value)


def refused_in_one_line(run: Callable[[], object]) -> None:
    with suppress(OneLine):
        try:
            run()
        except TrimixError as error:
            raise OneLine(error) from None


class OneLine(Exception):
    """What a user sees: one line, printable, and not endless."""

    def __init__(self, error: TrimixError) -> None:
        super().__init__(str(error))
        assert one_line(str(error)) == str(error)
        assert len(str(error)) < 1000


def holds_of(source: Path, spoilt: Path, run: Callable[[Path], object]) -> None:
    """`run` on copies of the folder `source` in which something is wrong."""

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        shutil.rmtree(spoilt, ignore_errors=True)
        shutil.copytree(source, spoilt)
        spoil(spoilt, data)
        refused_in_one_line(lambda: run(spoilt))

    holds()


@pytest.mark.parametrize("family", ["qwen2", "llama2", "llama3", "gemma2", "gemma3"])
def test_a_checkpoint(checkpoint: Make, tmp_path: Path, family: str) -> None:
    source, _ = checkpoint() if family == "qwen2" else checkpoint(family=family)
    target = tmp_path / "m.gguf"
    holds_of(source, tmp_path / "spoilt", lambda src: convert(src, target, "f16", force=True))


def test_an_adapter(checkpoint: Make, tmp_path: Path) -> None:
    base, tensors = checkpoint()
    source, target = tmp_path / "adapter", tmp_path / "l.gguf"
    write_adapter(source, matrices(tensors, "q_proj"))
    run = partial(convert_lora, dst=target, base=base, force=True)
    holds_of(source, tmp_path / "spoilt", run)
