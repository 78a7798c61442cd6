"""Fusion over bytes with published tokenizers, in every pair, on tiny random weights.

TRIMIX_TOKENIZERS names the folder of Llama 2's, Llama 3's, Qwen2.5's and Gemma 3's tokenizers,
TRIMIX_LLAMA_CPP a source folder of llama.cpp with its vocabulary files.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from trimix_cpp.alignment import spelling_of
from trimix_cpp.decoding import ByteTrio, open_trio
from trimix_cpp.errors import AlignmentError
from trimix_cpp.fusion import Weights
from trimix_cpp.llama import Model

from ..bytewise.toys import oracle, worst
from ..support.different import spec_of
from ..support.dressed import dress
from ..support.published import needs_published, vocabulary
from .test_bytes import Alone, data, look, options, reference, run, tokens_of

ROWS = {"llama2": 32000, "llama3_2": 128256, "qwen2_5": 151936, "gemma3": 262144}
TEXTS = ["ئۇي", "བོད", "😀", "12 3", "  \n\t"]
# The first two change texts; the others lack a byte.
REFUSED = ("bert-bge", "nomic-bert-moe", "falcon", "refact", "starcoder")
HALF = Weights(0.5, 0.5)
LLAMA_CPP = os.environ.get("TRIMIX_LLAMA_CPP", "")
Dressed = Callable[[str], Path]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dressed(tmp_path_factory: pytest.TempPathFactory) -> Dressed:
    folder, known = tmp_path_factory.mktemp("published"), dict[str, Path]()

    def make(name: str) -> Path:
        if name not in known:
            source = vocabulary(folder / name, name, ROWS[name])
            seed = list(ROWS).index(name)
            known[name] = dress(source, folder / f"{name}.gguf", seed=seed)
        return known[name]

    return make


@needs_published
@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_the_sum_over_all_tokenizations(dressed: Dressed, name: str) -> None:
    files = {"large": dressed(name)}
    with open_trio(spec_of(files), ("large",), options()) as trio:
        assert isinstance(trio, ByteTrio)
        alone = Alone(files["large"], tuple(trio.prompt("large", tokens_of(trio, "The word:"))))
        for text in TEXTS:
            rows = look(trio, "The word:", text, ("large",), Weights(1, 0))["large"]
            raw = text.encode()
            for at in {0, len(raw) // 2, len(raw)}:
                exact = oracle(trio.spelling("large"), alone.logits, raw[:at])
                assert worst(rows[at], exact) < 1e-6
        alone.close()


@needs_published
@pytest.mark.parametrize(("first", "second"), [*itertools.combinations(ROWS, 2)])
def test_pairs_say_what_the_sums_say(dressed: Dressed, first: str, second: str) -> None:
    files = {"large": dressed(first), "cpt": dressed(second)}
    with open_trio(spec_of(files), ("large", "cpt"), options()) as trio:
        assert isinstance(trio, ByteTrio)
        prompt = "ئۇيغۇر བོད་ 1:"
        expected = reference(trio, files, prompt, 3, HALF)
        assert data(run(trio, prompt, n=3, weights=HALF)[0]) == expected


@pytest.mark.skipif(not LLAMA_CPP, reason="TRIMIX_LLAMA_CPP names no folder")
def test_every_vocabulary_is_bytes_or_refused_by_name() -> None:
    """Each token's bytes are those that llama.cpp prints, and every text can be spelled."""
    files = sorted(Path(LLAMA_CPP, "models").glob("ggml-vocab-*.gguf"))
    assert files
    for file in files:
        with Model(file, vocab_only=True) as model:
            if file.stem.removeprefix("ggml-vocab-") in REFUSED:
                with pytest.raises(AlignmentError, match=re.escape(file.name)):
                    spelling_of(model)
                continue
            spelling = spelling_of(model)
            for token in spelling.ids[::97].tolist():
                assert model.piece(token) == spelling.pieces[token]
            for byte in range(0x80):
                assert spelling.find(bytes((byte,)))
