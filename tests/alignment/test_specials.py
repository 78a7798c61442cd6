"""Special tokens that only some models have: what is harmless, handled and refused.

On our own tiny tokenizers; with TRIMIX_TOKENIZERS on the published ones, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trimix_cpp.alignment import align, report_for
from trimix_cpp.alignment.spelling import Speller
from trimix_cpp.commands import main
from trimix_cpp.errors import TrimixError
from trimix_cpp.llama.model import Model

from ..support.published import Tokenizer, added, needs_published, vocabulary
from ..support.vocab_files import (
    CONTROL,
    NORMAL,
    UNUSED,
    USER_DEFINED,
    VocabFile,
    bpe,
    sentencepiece,
)
from .conftest import Compare


def without(file: VocabFile, *texts: str) -> VocabFile:
    """These special tokens taken out of the end of a vocabulary."""
    kept = tuple(token for token in file.tokens if token[0] not in texts)
    out = VocabFile(kept, file.merges, file.scores, file.model, file.pre)
    return out.with_metadata(
        bos_token_id=out.id("<|endoftext|>"),
        eos_token_id=out.id("<|endoftext|>"),
        add_bos_token=False,
    )


def flagged(file: VocabFile, kind: int) -> VocabFile:
    """Every added token of one kind."""
    tokens = tuple(
        (text, kind if was in (CONTROL, USER_DEFINED) else was) for text, was in file.tokens
    )
    return VocabFile(tokens, file.merges, file.scores, file.model, file.pre, file.metadata)


CASES = {
    "one more": (bpe(), bpe().with_tokens(("[PAD]", CONTROL)), "specials"),
    "one more, and padding": (bpe(), bpe().with_tokens(("[PAD]", CONTROL)).padded(5), "specials"),
    "one that large has alone": (bpe().with_tokens(("<image>", CONTROL)), bpe(), "specials"),
    "an added one that large has alone": (bpe(), without(bpe(), "<tool_call>"), "specials"),
    "in the padding's place": (
        bpe().padded(4), bpe().with_tokens(("<|turn|>", CONTROL), ("<|a|>", CONTROL)), "specials",
    ),
    "an added word": (bpe(), bpe().with_tokens(("ئۇيغۇر", USER_DEFINED)), "expanded"),
    "a word": (bpe(), bpe().with_tokens(("ئۇ", NORMAL), ("<x>", CONTROL)), "expanded"),
    "flags": (bpe(), flagged(bpe(), CONTROL), "identical"),
    "flags and padding": (flagged(bpe(), USER_DEFINED), bpe().padded(2), "padded"),
    "each has its own": (
        bpe().with_tokens(("<a>", CONTROL)), bpe().with_tokens(("<b>", CONTROL)), "specials",
    ),
    "an unused one": (bpe(), bpe().with_tokens(("<unused0>", UNUSED)), "padded"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_verdicts(compare: Compare, case: str) -> None:
    large, cpt, verdict = CASES[case]
    report = compare(large=large, cpt=cpt, base=large)
    assert report.verdict == verdict
    assert report.fusible
    assert json.loads(json.dumps(report.to_json()))["verdict"] == verdict


def test_sentencepiece_with_a_padding_token(compare: Compare) -> None:
    more = sentencepiece()
    more = VocabFile(
        (*more.tokens, ("[PAD]", CONTROL)), scores=(*more.scores, 0.0), model="llama", pre="default"
    )
    assert compare(large=sentencepiece(), cpt=more).verdict == "specials"
    assert compare(large=more, cpt=sentencepiece()).verdict == "specials"


def test_other_differences_are_still_seen(compare: Compare) -> None:
    """A special token more does not hide a tokenizer that splits text otherwise."""
    more = bpe().with_tokens(("[PAD]", CONTROL))
    other = VocabFile(**{**vars(more), "pre": "llama-bpe"})
    assert compare(large=bpe(), cpt=other).verdict == "different"
    swapped = (bpe().merges[1], bpe().merges[0], *bpe().merges[2:])
    assert compare(large=bpe(), cpt=VocabFile(**{**vars(more), "merges": swapped})).verdict == (
        "different"
    )


def test_the_report_says_what_becomes_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large, cpt = bpe().write(tmp_path / "l.gguf"), without(bpe(), "<tool_call>")
    cpt = flagged(cpt.with_tokens(("<|b|>", CONTROL)), USER_DEFINED)
    path = cpt.write(tmp_path / "c.gguf")
    assert main(["check", "--large", str(large), "--cpt", str(path)]) == 0
    out = capsys.readouterr().out
    for said in (
        "specials: ", "may be fused", "control token", "<tool_call>", "<|b|>", "never comes",
        "--control fused", "harmless",
    ):  # fmt: skip
        assert said in out
    assert main(["check", "--json", "--large", str(large), "--cpt", str(path)]) == 0
    role = json.loads(capsys.readouterr().out)["roles"][1]
    assert (role["verdict"], role["n_only_role"], role["n_only_reference"]) == ("specials", 1, 1)
    assert role["n_flags"] == len(role["flags"]) == 3


def test_columns_of_a_role_that_lacks_tokens(tmp_path: Path) -> None:
    large, cpt = bpe(), without(bpe(), "<|im_end|>", "<tool_call>")
    with (
        Model(large.write(tmp_path / "l.gguf"), vocab_only=True) as first,
        Model(cpt.write(tmp_path / "c.gguf"), vocab_only=True) as second,
    ):
        found = align({"large": first, "cpt": second})
        lacked = [large.id("<|im_end|>"), large.id("<tool_call>")]
        assert found.of(("large", "cpt")).lacked.tolist() == lacked
        assert found.of(("large",)).lacked.tolist() == []
        for token in lacked:
            own = found.spelled["cpt"][token]
            assert b"".join(map(second.piece, own)).decode() == large.tokens[token][0]
            assert found.of(("large", "cpt")).special[token]
        text = [5, lacked[0], 6]
        assert found.length("cpt", text) == 2 + len(found.spelled["cpt"][lacked[0]])
        assert found.length("large", text) == 3
        with pytest.raises(TrimixError, match="lacks"):
            found.to_role("cpt", np.array(text, np.int32))
        logits = np.random.default_rng(0).standard_normal((2, second.n_vocab)).astype(np.float32)
        rows = found.rows("cpt", logits)
        assert np.isfinite(rows).all()
        assert (rows[:, lacked] <= rows.min(axis=1, keepdims=True)).all()
        kept = np.setdiff1d(np.arange(found.n_tokens), lacked)
        assert np.array_equal(rows[:, kept], logits[:, found.columns["cpt"][kept]])


def test_a_name_is_spelled_without_what_tokenizers_put_before_a_text(tmp_path: Path) -> None:
    with Model(sentencepiece().write(tmp_path / "s.gguf"), vocab_only=True) as model:
        speller = Speller(model)
        own = speller.spell(b"the and")
        assert own is not None
        assert b"".join(map(model.piece, own)) == b"the and"
        assert speller.spell(b"\xe0\xbd") is None


# Published tokenizers


def gone(*names: str) -> Callable[[Tokenizer], None]:
    """Added tokens taken out."""

    def change(tokenizer: Tokenizer) -> None:
        kept = [t for t in tokenizer["added_tokens"] if t["content"] not in names]
        tokenizer["added_tokens"] = kept

    return change


def more(*tokens: tuple[str, int]) -> Callable[[Tokenizer], None]:
    """Special tokens added."""

    def change(tokenizer: Tokenizer) -> None:
        tokenizer["added_tokens"] += [added(text, t, special=True) for text, t in tokens]

    return change


def all_special(tokenizer: Tokenizer) -> None:
    for token in tokenizer["added_tokens"]:
        token["special"] = True


def only_the_end(tokenizer: Tokenizer) -> None:
    kept = [t for t in tokenizer["added_tokens"] if t["content"] == "<|endoftext|>"]
    tokenizer["added_tokens"] = kept


def no_image(tokenizer: Tokenizer) -> None:
    """Gemma 3 1B's: the tokens of 4B but for the one of images."""
    gone("<image_soft_token>")(tokenizer)
    tokenizer["model"]["vocab"].pop("<image_soft_token>", None)


QWEN_TOOLS = ("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|repo_name|>", "<|file_sep|>")
PUBLISHED = {
    "Llama 2 with [PAD]": ("llama2", 32000, None, 32001, more(("[PAD]", 32000)), "specials"),
    "Llama 2 with [PAD], 64 rows": (
        "llama2", 32000, None, 32064, more(("[PAD]", 32000)), "specials",
    ),
    "Gemma 3 4B with 1B": ("gemma3", 262208, None, 262144, no_image, "specials"),
    "Gemma 3 1B with 4B": ("gemma3", 262144, no_image, 262208, None, "specials"),
    "Qwen2.5 without tools": ("qwen2_5", 152064, None, 151936, gone(*QWEN_TOOLS), "specials"),
    "Qwen2.5 with its end alone": ("qwen2_5", 152064, None, 151936, only_the_end, "specials"),
    "Qwen2.5 with two more": (
        "qwen2_5", 152064, None, 151936, more(("<|a|>", 151665), ("<|b|>", 151666)), "specials",
    ),
    "Qwen2.5, all special": ("qwen2_5", 152064, None, 151936, all_special, "padded"),
}  # fmt: skip


@pytest.mark.slow
@needs_published
@pytest.mark.parametrize("case", PUBLISHED)
def test_published_tokenizers(tmp_path: Path, case: str) -> None:
    name, rows, change, cpt_rows, cpt_change, verdict = PUBLISHED[case]
    keep: Callable[[Tokenizer], None] = lambda _: None  # noqa: E731
    large = vocabulary(tmp_path / "large", name, rows, change or keep)
    cpt = vocabulary(tmp_path / "cpt", name, cpt_rows, cpt_change or keep)
    report = report_for({"large": large, "cpt": cpt, "base": cpt})
    assert report.verdict == verdict, report.lines()
    with Model(large, vocab_only=True) as first, Model(cpt, vocab_only=True) as second:
        found = align({"large": first, "cpt": second})
        for token, own in found.spelled.get("cpt", {}).items():
            name = first.piece(int(found.to_role("large", np.array([token]))[0]), special=True)
            assert b"".join(map(second.piece, own)) == name
