"""A role's further tokens as strings over the alphabet, and what cannot be one.

On our own tiny tokenizers; with TRIMIX_TOKENIZERS on Llama 2's, enlarged, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import TokenType
from hypothesis import given, settings
from hypothesis import strategies as st

from trimix_cpp.alignment import Alignment, align, report_for
from trimix_cpp.alignment.vocabulary import Vocabulary
from trimix_cpp.errors import AlignmentError
from trimix_cpp.llama.model import Model

from ..support.examples import examples
from ..support.published import Tokenizer, needs_published, vocabulary
from ..support.rewrite import n_vocab, rewrite
from ..support.vocab_files import (
    CONTROL,
    NORMAL,
    UNUSED,
    USER_DEFINED,
    VocabFile,
    bpe,
    byte_alphabet,
    sentencepiece,
)

LETTERS = byte_alphabet()


def spelled(text: str) -> str:
    """A text in the letters of byte-level BPE."""
    return "".join(LETTERS[byte] for byte in text.encode())


def enlarged_bpe(pre: str = "qwen2") -> VocabFile:
    """Further merges: words, a whole phrase, one and a half characters; special and unused ones."""
    alef, lam = spelled("ئ"), spelled("ۇ")
    merges = (
        *bpe().merges, f"{alef} {lam}", f"{alef}{lam} {alef[0]}", "Ġthe Ġthe", "Ġ 1", "12 3", "h e",
        "t he", f"{spelled('🙂')[0]} {spelled('🙂')[1]}",
    )  # fmt: skip
    known = {text for text, _ in bpe().tokens}
    more = [merge.replace(" ", "") for merge in merges]
    pieces = [piece for piece in dict.fromkeys(more) if piece not in known]
    file = bpe().with_tokens(
        *((piece, NORMAL) for piece in pieces), ("<own>", CONTROL), ("<unused9>", UNUSED),
        ("word", USER_DEFINED), ("<name>", USER_DEFINED),
    )  # fmt: skip
    return replace(file, merges=merges, pre=pre)


def enlarged_spm() -> VocabFile:
    """As scripts for Llama 2 do it: pieces with the score 0, which merge before all others."""
    pieces = ("▁and", "▁an", "the▁", "ئۇ", "▁ئۇ", "ئۇيغۇر", "x")
    file = sentencepiece()
    return replace(
        file,
        tokens=(*file.tokens, *((piece, NORMAL) for piece in pieces)),
        scores=(*file.scores, *(0.0,) * len(pieces)),
    )


FAMILIES = {
    "bpe": (bpe(), enlarged_bpe()),
    "llama-bpe": (replace(bpe(), pre="llama-bpe"), enlarged_bpe("llama-bpe")),
    "spm": (sentencepiece(), enlarged_spm()),
}


@contextmanager
def aligned(
    folder: Path, large: VocabFile | Path, cpt: VocabFile | Path
) -> Iterator[tuple[Alignment, Model, Model]]:
    with ExitStack() as stack:
        models = {}
        for role, file in (("large", large), ("cpt", cpt)):
            path = file if isinstance(file, Path) else file.write(folder / f"{role}.gguf")
            models[role] = stack.enter_context(Model(path, vocab_only=True))
        yield align(models), models["large"], models["cpt"]


def strings(found: Alignment) -> list[tuple[int, ...]]:
    return list(found.enlarged["cpt"]._strings)


def check_bytes(found: Alignment, cpt: Model) -> int:
    """Every token of text has the bytes of its string; returns how many have several letters."""
    large, n_longer = found.enlarged["cpt"]._letters, 0
    own = Vocabulary(cpt)
    for token, string in enumerate(strings(found)):
        if own.is_real[token] and not own.is_special[token]:
            assert b"".join(large[letter] for letter in string) == own.bytes_of(token)
            n_longer += len(string) > 1
    return n_longer


@pytest.mark.parametrize("family", FAMILIES)
def test_a_string_has_the_bytes_of_its_token(tmp_path: Path, family: str) -> None:
    with aligned(tmp_path, *FAMILIES[family]) as (found, _, cpt):
        assert found.report.verdict == "expanded"
        assert check_bytes(found, cpt) >= 4


def test_letters_are_what_large_makes_of_a_token(tmp_path: Path) -> None:
    """Not its bytes, one by one: `ĠtheĠthe` is two tokens of large."""
    with aligned(tmp_path, *FAMILIES["bpe"]) as (found, large, _):
        file = FAMILIES["bpe"][1]
        assert strings(found)[file.id("ĠtheĠthe")] == tuple(large.tokenize(" the the"))
        assert strings(found)[file.id("word")] == tuple(large.tokenize("word"))
        for special in ("<own>", "<unused9>", "<name>"):
            assert strings(found)[file.id(special)] == ()
        assert found.of(("large", "cpt")).lacked.tolist() == []


def test_sentencepiece_puts_no_space_into_a_string(tmp_path: Path) -> None:
    with aligned(tmp_path, *FAMILIES["spm"]) as (found, large, cpt):
        file = FAMILIES["spm"][1]
        for piece, text in (("▁and", b" and"), ("the▁", b"the "), ("ئۇ", "ئۇ".encode())):
            string = strings(found)[file.id(piece)]
            assert b"".join(map(large.piece, string)) == text
        # `x` as a piece and as a byte are two tokens of one letter.
        letter = strings(found)[file.id("x")]
        assert found.enlarged["cpt"].pushforward.closing(letter) == sorted(
            [file.id("x"), file.id("<0x78>")]
        )
        tokens = np.array(large.tokenize("the and ئۇيغۇر", add_special=True), np.int32)
        own, _ = found.enlarged["cpt"].read(found.from_role("large", tokens).tolist())
        assert own == cpt.tokenize("the and ئۇيغۇر", add_special=True)


@settings(max_examples=examples(20), deadline=None)
@given(
    text=st.text(st.sampled_from("the 12ئۇيغۇر\n🙂བོ"), max_size=20),
    family=st.sampled_from([*FAMILIES]),
)
def test_a_text_is_read_as_the_own_tokenizer_reads_it(
    tmp_path_factory: pytest.TempPathFactory, text: str, family: str
) -> None:
    with aligned(tmp_path_factory.mktemp("read"), *FAMILIES[family]) as (found, large, cpt):
        letters = found.from_role("large", np.array(large.tokenize(text), np.int32)).tolist()
        own, needed = found.enlarged["cpt"].read(letters)
        assert b"".join(map(cpt.piece, own)) == b"".join(map(large.piece, large.tokenize(text)))
        if family != "spm" or not text.startswith("\n"):
            assert own == cpt.tokenize(text)
        ends = np.cumsum([0, *(len(cpt.piece(token)) for token in own)])
        at = 0
        for n, letter in zip(needed[1:], letters, strict=True):
            at += len(found.enlarged["cpt"]._letters[letter])
            assert ends[n - 1] < at <= ends[n]


def test_what_a_tokenizer_would_not_do(tmp_path: Path) -> None:
    with aligned(tmp_path, *FAMILIES["bpe"]) as (found, _, cpt):
        follows = found.enlarged["cpt"].follows
        (the,) = cpt.tokenize(" the")
        t, h = cpt.tokenize("t")[0], cpt.tokenize("h")[0]
        assert not follows(t, h)  # `th` is a token
        assert follows(the, cpt.tokenize("q")[0])
        assert follows(cpt.tokenize("<own>", parse_special=True)[0], t)
        half = cpt.tokenize("བ")
        assert follows(half[0], half[1])


def test_bytes_that_the_alphabet_cannot_spell_are_refused_by_name(tmp_path: Path) -> None:
    """A byte that large has no token for, and none of its pieces."""
    gone = LETTERS[0x01]
    fewer = tuple(token for token in bpe().tokens if token[0] != gone)
    large = replace(bpe(), tokens=fewer, metadata={})
    large = large.with_metadata(
        bos_token_id=large.id("<|endoftext|>"),
        eos_token_id=large.id("<|im_end|>"),
        add_bos_token=False,
    )
    message = r"cpt.gguf: token 1 text '\\x01' cannot be made"
    with pytest.raises(AlignmentError, match=message), aligned(tmp_path, large, bpe()):
        pass


def test_tokenizers_that_change_their_text_are_different(tmp_path: Path) -> None:
    """Lower case, and accents taken off: bytes do not come back."""
    paths = {}
    for role, words in (("large", ("[CLS]", "[SEP]", "[UNK]", "[PAD]", "a")), ("cpt", ("b", "c"))):
        words = words if role == "large" else ("[CLS]", "[SEP]", "[UNK]", "[PAD]", "a", *words)
        file = VocabFile(tuple((word, NORMAL) for word in words), model="bert", pre="default")
        ids = {"cls": 0, "bos": 0, "seperator": 1, "unknown": 2, "padding": 3}
        file = file.with_metadata(**{f"{name}_token_id": token for name, token in ids.items()})
        paths[role] = file.write(tmp_path / f"{role}.gguf")
    assert report_for(paths).verdict == "different"


def tamil(tokenizer: Tokenizer) -> None:
    """Llama 2 with words of Tamil and Uyghur merged, as Tamil-Llama has 16,000."""
    vocabulary, merges = tokenizer["model"]["vocab"], tokenizer["model"]["merges"]
    for word in ("▁தமிழ்", "▁மொழி", "▁ئۇيغۇر"):
        piece = word[0]
        for letter in word[1:]:
            pair, known = (piece, letter), piece + letter in vocabulary
            for each in (letter, piece + letter):
                vocabulary.setdefault(each, len(vocabulary))
            if not known:
                merges.append(" ".join(pair) if isinstance(merges[0], str) else list(pair))
            piece += letter


LLAMA_CPP = os.environ.get("TRIMIX_LLAMA_CPP", "")


@pytest.mark.slow
@pytest.mark.skipif(not LLAMA_CPP, reason="TRIMIX_LLAMA_CPP names no source folder of llama.cpp")
@pytest.mark.parametrize("name", ["llama-spm", "llama-bpe", "qwen2", "gpt-2"])
def test_real_vocabularies_with_more_tokens(tmp_path: Path, name: str) -> None:
    """Special ones, words, and parts of characters: those of text have their bytes."""
    source = Path(LLAMA_CPP) / "models" / f"ggml-vocab-{name}.gguf"
    words = ["بېخەتەرلىك", " བོད་སྐད", "the  \n", "12345", "🏳️‍🌈"]
    pieces = [w.replace(" ", "▁") if name == "llama-spm" else spelled(w) for w in words]
    if name != "llama-spm":
        pieces += [spelled("བོད་སྐད")[1:8], spelled("ཀ🏴‍☠️")[2:9]]
    n = n_vocab(source)
    kinds = [(piece, TokenType.NORMAL) for piece in pieces]
    kinds += [("<own>", TokenType.CONTROL), ("<|tool|>", TokenType.USER_DEFINED)]
    more = rewrite(source, tmp_path / "more.gguf", list(range(n)), kinds)
    with aligned(tmp_path, source, more) as (found, _, cpt):
        assert found.report.verdict == "expanded"
        assert check_bytes(found, cpt) == len(pieces)
        assert strings(found)[n + len(pieces) :] == [(), ()]
    bare = rewrite(source, tmp_path / "pad.gguf", list(range(n)), [("[PAD]", TokenType.CONTROL)])
    assert report_for({"large": source, "cpt": bare}).verdict == "specials"
    assert report_for({"large": bare, "cpt": source}).verdict == "specials"


@pytest.mark.slow
@needs_published
def test_llama_2_with_more_pieces(tmp_path: Path) -> None:
    large = vocabulary(tmp_path / "large", "llama2", 32000)
    cpt = vocabulary(tmp_path / "cpt", "llama2", 32064, tamil)
    with aligned(tmp_path, large, cpt) as (found, first, second):
        assert found.report.verdict == "expanded"
        assert check_bytes(found, second) >= 10
        text = "தமிழ் மொழி the ئۇيغۇر 12"
        letters = found.from_role("large", np.array(first.tokenize(text), np.int32)).tolist()
        own, _ = found.enlarged["cpt"].read(letters)
        assert own == second.tokenize(text)
        assert len(own) < len(letters)
