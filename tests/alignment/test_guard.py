"""The guard: which models may be fused, and how their ids correspond.

Set TRIMIX_LLAMA_CPP to a source folder of llama.cpp to compare the real vocabularies there, too.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimix_cpp.alignment import probes
from trimix_cpp.alignment.guard import Alignment, MismatchError, align, report_for
from trimix_cpp.alignment.report import Report, RoleReport
from trimix_cpp.alignment.vocabulary import Vocabulary
from trimix_cpp.commands import main
from trimix_cpp.errors import AlignmentError, ModelFileError, TrimixError
from trimix_cpp.llama.model import Model

from ..support.examples import examples
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
from .conftest import Compare

TEXT = "the thing  is\n\nئۇيغۇر 1234 isn't <|im_end|>"


def only(report: Report, role: str = "cpt") -> RoleReport:
    return next(entry for entry in report.roles if entry.role == role)


def aligned(folder: Path, **files: VocabFile) -> Alignment:
    models = {
        role: Model(file.write(folder / f"{role}.gguf"), vocab_only=True)
        for role, file in files.items()
    }
    try:
        return align(models)
    finally:
        for model in models.values():
            model.close()


def ids(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(values, np.int32)


# What may be fused


def test_identical(tmp_path: Path) -> None:
    vocabulary = bpe()
    found = aligned(tmp_path, large=vocabulary, cpt=vocabulary, base=vocabulary)
    n = len(vocabulary.tokens)
    assert (found.report.verdict, found.reference, found.n_tokens) == ("identical", "large", n)
    assert tuple(found.columns) == ("large", "cpt", "base")
    assert found.columns == {"large": None, "cpt": None, "base": None}
    assert found.to_role("cpt", ids(5, 6)).tolist() == [5, 6]
    controls = [vocabulary.id(text) for text, kind in vocabulary.tokens if kind == CONTROL]
    assert np.flatnonzero(found.control()).tolist() == controls
    assert found.ends() == {vocabulary.id("<|endoftext|>"), vocabulary.id("<|im_end|>")}


def test_one_role_is_identical_to_itself(tmp_path: Path) -> None:
    found = aligned(tmp_path, base=bpe().padded(3))
    assert (found.report.verdict, found.reference) == ("identical", "base")
    assert found.n_tokens == len(bpe().tokens)


def test_one_file_in_two_roles(write: Callable[[str, VocabFile], Path]) -> None:
    path = write("both", bpe())
    with Model(path, vocab_only=True) as model:
        assert align({"base": model, "cpt": model}).report.verdict == "identical"
    assert report_for({"base": path, "cpt": path}).verdict == "identical"


@pytest.mark.parametrize(("large", "cpt"), [(0, 4), (4, 0), (2, 9)])
@pytest.mark.parametrize("kind", [UNUSED, USER_DEFINED])
def test_padded(tmp_path: Path, large: int, cpt: int, kind: int) -> None:
    """Older converters typed the padding USER_DEFINED."""
    n = len(bpe().tokens)
    found = aligned(tmp_path, large=bpe().padded(large, kind), cpt=bpe().padded(cpt))
    assert (found.report.verdict, found.n_tokens) == ("padded", n)
    assert found.columns == {"large": None, "cpt": None}
    assert only(found.report).n_padding == cpt
    if cpt:
        with pytest.raises(TrimixError, match="padding"):
            found.from_role("cpt", ids(3, n))
    with pytest.raises(ValueError, match="vocabulary"):
        found.from_role("cpt", ids(n + cpt))
    with pytest.raises(ValueError, match="shared"):
        found.to_role("large", ids(n))


def test_padding_in_the_middle_takes_no_part(tmp_path: Path) -> None:
    base = bpe()
    holed = base.with_tokens(("<unused0>", UNUSED), ("<last>", CONTROL))
    found = aligned(tmp_path, large=holed, cpt=holed.padded(2))
    n = len(base.tokens)
    assert (found.report.verdict, found.n_tokens) == ("padded", n + 1)
    assert found.to_role("cpt", ids(n)).tolist() == [n + 1]
    assert found.from_role("large", ids(0, n + 1)).tolist() == [0, n]
    with pytest.raises(TrimixError, match="padding"):
        found.from_role("large", ids(n))


@settings(max_examples=examples(12))
@given(seed=st.integers(0, 2**32), padding=st.integers(0, 3), spm=st.booleans())
def test_permuted(
    tmp_path_factory: pytest.TempPathFactory, seed: int, padding: int, spm: bool
) -> None:
    vocabulary = sentencepiece() if spm else bpe()
    if spm:
        vocabulary = vocabulary.with_metadata(bos_token_id=1, eos_token_id=2, unknown_token_id=0)
    order = list(range(len(vocabulary.tokens)))
    random.Random(seed).shuffle(order)
    other = vocabulary.permuted(order).padded(padding)
    folder = tmp_path_factory.mktemp("permuted")
    found = aligned(folder, large=vocabulary, cpt=other)
    assert found.report.verdict == "permuted"
    everything = np.arange(found.n_tokens, dtype=np.int32)
    own = found.to_role("cpt", everything)
    assert [found.id_in_role("cpt", token) for token in range(found.n_tokens)] == own.tolist()
    assert [other.tokens[i] for i in own] == list(vocabulary.tokens)
    assert np.array_equal(found.from_role("cpt", own), everything)
    assert own.dtype == found.from_role("cpt", own).dtype == np.int32
    with Model(folder / "large.gguf", vocab_only=True) as large:
        expected = large.tokenize(TEXT, add_special=True, parse_special=True)
    with Model(folder / "cpt.gguf", vocab_only=True) as cpt:
        tokens = cpt.tokenize(TEXT, add_special=True, parse_special=True)
    assert found.from_role("cpt", np.array(tokens, np.int32)).tolist() == expected


def test_a_token_that_stands_twice_is_paired_with_its_like(tmp_path: Path) -> None:
    """`ĠĠ` as a piece and two spaces as an added token are the same text."""
    vocabulary = bpe().with_tokens(("  ", USER_DEFINED))
    first, second = vocabulary.id("ĠĠ"), vocabulary.id("  ")
    order = list(range(len(vocabulary.tokens)))
    order[first], order[second] = order[second], order[first]
    found = aligned(tmp_path, large=vocabulary, cpt=vocabulary.permuted(order))
    assert found.report.verdict == "permuted"
    assert found.to_role("cpt", ids(first, second)).tolist() == [second, first]


def test_end_of_generation_of_every_role_counts(tmp_path: Path) -> None:
    vocabulary = bpe()
    ending = vocabulary.id("<|im_start|>")
    found = aligned(tmp_path, large=vocabulary, base=vocabulary.with_metadata(eos_token_id=ending))
    assert ending in found.ends()


def test_the_reference_can_be_named(write: Callable[[str, VocabFile], Path]) -> None:
    order = list(range(len(bpe().tokens)))[::-1]
    with (
        Model(write("large", bpe()), vocab_only=True) as large,
        Model(write("base", bpe().permuted(order)), vocab_only=True) as base,
    ):
        found = align({"large": large, "base": base}, reference="base")
        assert (found.reference, found.columns["base"]) == ("base", None)
        assert found.columns["large"] is not None


def test_expanded(compare: Compare) -> None:
    more = bpe().with_tokens(("ئۇ", NORMAL), ("<new>", CONTROL))
    report = compare(large=bpe(), cpt=more, base=bpe())
    assert (report.verdict, report.fusible) == ("expanded", True)
    cpt = only(report)
    assert (cpt.n_only_role, cpt.n_only_reference, cpt.n_shared) == (2, 0, len(bpe().tokens))
    assert cpt.only_role[1].token == "control '<new>'"
    assert only(report, "base").verdict == "identical"
    assert report.enlarged == ("cpt",)
    assert "cpt reads prompts in its own tokens" in "\n".join(report.lines())


# What may not


def test_expanded_reference(compare: Compare) -> None:
    report = compare(large=bpe().with_tokens(("ئۇ", NORMAL)), cpt=bpe())
    assert (report.verdict, report.fusible) == ("expanded", False)
    assert "cpt lacks 1 token of large" in report.summary()
    assert "cpt and base may have more" in report.advice()


def test_expanded_beats_padding(compare: Compare) -> None:
    """A token in the place of the padding is more than padding."""
    report = compare(large=bpe().padded(1), cpt=bpe().with_tokens(("ئۇ", NORMAL)))
    assert report.verdict == "expanded"


def test_another_token_is_different(compare: Compare) -> None:
    tokens = list(bpe().tokens)
    tokens[256] = ("zzz", NORMAL)
    other = VocabFile(tuple(tokens), merges=bpe().merges, metadata=bpe().metadata)
    cpt = only(compare(large=bpe(), cpt=other))
    assert cpt.verdict == "different"
    assert (cpt.n_only_role, cpt.n_only_reference) == (1, 1)
    assert [(d.id, d.reference, d.role) for d in cpt.differing_ids] == [
        (256, "text 'th'", "text 'zzz'")
    ]


def test_a_control_token_is_not_text(compare: Compare) -> None:
    first = bpe().with_tokens(("<x>", CONTROL))
    second = bpe().with_tokens(("<x>", NORMAL))
    assert compare(large=first, cpt=second).verdict == "expanded"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"merges": bpe().merges[:-1]}, "merges"),
        ({"merges": (bpe().merges[1], bpe().merges[0], *bpe().merges[2:])}, "merges"),
        ({"pre": "llama-bpe", "metadata": {**bpe().metadata}}, "pre-tokenizer"),
        ({"metadata": {**bpe().metadata, "add_bos_token": True}}, "BOS"),
        ({"metadata": {**bpe().metadata, "add_eos_token": True}}, "EOS"),
    ],
)
def test_settings_that_differ(compare: Compare, change: dict[str, object], name: str) -> None:
    other = VocabFile(**{**vars(bpe()), **change})
    cpt = only(compare(large=bpe(), cpt=other))
    assert cpt.verdict == "different"
    assert [setting.name for setting in cpt.settings] == [name]
    assert cpt.n_only_role == cpt.n_only_reference == 0


def test_sentencepiece_settings_that_differ(compare: Compare) -> None:
    vocabulary = sentencepiece()
    scores = (*vocabulary.scores[:-1], 5.0)
    other = VocabFile(
        vocabulary.tokens,
        scores=scores,
        model="llama",
        pre="default",
        metadata={"add_space_prefix": False},
    )
    report = compare(large=vocabulary, cpt=other)
    names = [setting.name for setting in only(report).settings]
    assert report.verdict == "different"
    assert names[0] == "add_space_prefix"
    assert names[1].startswith("scores of 1 token, first text 'and'")


def test_what_llama_cpp_takes_for_granted_is_no_difference(compare: Compare) -> None:
    """Missing keys have defaults, and names of the pre-tokenizer have aliases."""
    spelled = sentencepiece().with_metadata(
        add_bos_token=True, add_eos_token=False, add_space_prefix=True, bos_token_id=1
    )
    assert compare(large=sentencepiece(), cpt=spelled).verdict == "identical"
    alias = VocabFile(**{**vars(bpe()), "pre": "deepseek-r1-qwen"})
    assert compare(large=bpe(), cpt=alias).verdict == "identical"


def test_ids_of_tokens_that_are_not_added_may_differ(compare: Compare) -> None:
    """Qwen2.5's base and chat models end with different tokens."""
    other = bpe().with_metadata(eos_token_id=bpe().id("<|endoftext|>"))
    assert compare(large=bpe(), base=other).verdict == "identical"


def test_texts_that_are_split_differently(compare: Compare) -> None:
    """An added token and a piece no merge makes: the same text, found in the text or not."""
    first = bpe().with_tokens(("qux", USER_DEFINED))
    second = bpe().with_tokens(("qux", NORMAL))
    cpt = only(compare(large=first, cpt=second))
    assert (cpt.verdict, cpt.settings) == ("different", ())
    assert cpt.n_probes_differ == 1
    assert cpt.probes[0].text == probes.naming("qux")
    assert (cpt.probes[0].position, cpt.probes[0].reference) == (1, "text 'qux'")


def test_the_worst_role_decides(compare: Compare) -> None:
    other = VocabFile(**{**vars(bpe()), "pre": "gpt-2"})
    report = compare(large=bpe(), cpt=bpe().padded(1), base=other)
    assert [entry.verdict for entry in report.roles] == ["identical", "padded", "different"]
    assert (report.verdict, report.worst.role) == ("different", "base")


def test_align_refuses_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(AlignmentError) as caught:
        aligned(tmp_path, large=bpe().with_tokens(("\nnew\x1b[0m", NORMAL)), cpt=bpe())
    assert isinstance(caught.value, MismatchError)
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert caught.value.report.verdict == "expanded"
    assert "271 text '\\nnew\\x1b[0m'" in message
    assert message.isprintable()


def test_broken_vocabularies_are_refused_before_llama_cpp_aborts(compare: Compare) -> None:
    spm = sentencepiece()
    fewer = VocabFile(spm.tokens[:-14] + spm.tokens[-13:], model="llama", pre="default")
    with pytest.raises(ModelFileError, match="byte"):
        compare(large=fewer)
    nameless = VocabFile(bpe().tokens, merges=bpe().merges, pre="glm4")
    with pytest.raises(ModelFileError, match="BOS"):
        compare(large=nameless.with_metadata(add_bos_token=True))


# The pieces


def test_keys_name_what_a_token_means(write: Callable[[str, VocabFile], Path]) -> None:
    vocabulary = bpe().padded(1)
    with Model(write("bpe", vocabulary), vocab_only=True) as model:
        found = Vocabulary(model)
        assert [key[1:] for key in found.keys[:256]] == [bytes([byte]) for byte in range(256)]
        assert len(byte_alphabet()) == len(set(byte_alphabet())) == 256
        assert found.keys[vocabulary.id("Ġthe")] == b"t the"
        assert found.keys[vocabulary.id("<|im_end|>")] == b"c<|im_end|>"
        assert found.keys[-1] == b""
        assert found.describe(0x80) == "text b'\\x80'"
    with Model(write("spm", sentencepiece()), vocab_only=True) as model:
        found = Vocabulary(model)
        assert found.keys[3 + 10] == b"b\n"
        assert found.keys[sentencepiece().id("▁the")] == b"t the"


def test_the_probes_hold_what_tokenizers_disagree_about() -> None:
    everything = "".join(probes.TEXTS)
    for character in "ئཀқٴөᠮதతଓব人😀\u200c\u200d\u00a0\r\t\u0301":
        assert character in everything
    assert len(set(probes.FORMS)) > len(probes.FORMS) // 2
    assert len(probes.TEXTS) == len(set(probes.TEXTS)) + len(probes.FORMS) - len(set(probes.FORMS))


def test_the_report_as_text_and_json(compare: Compare) -> None:
    report = compare(large=bpe(), cpt=bpe().padded(2), base=bpe().padded(2))
    assert report.lines() == [
        "padded: the same tokens under the same ids; the rows beyond them are padding; the models "
        "may be fused",
        "",
        "role   ids  tokens  padding  shared  verdict    file",
        "large  271     271        0     271  reference  large.gguf",
        "cpt    273     271        2     271  padded     cpt.gguf",
        "base   273     271        2     271  padded     base.gguf",
    ]
    document = json.loads(json.dumps(report.to_json()))
    assert (document["fusible"], document["verdict"]) == (True, "padded")
    assert document["roles"][1]["n_padding"] == 2
    assert document["advice"] == ""


def test_check(write: Callable[[str, VocabFile], Path], capsys: pytest.CaptureFixture[str]) -> None:
    large, same = write("large", bpe()), write("same", bpe())
    more = write("more", bpe().with_tokens(("new", NORMAL)))
    assert main(["check", "--large", str(large), "--base", str(same)]) == 0
    assert capsys.readouterr().out.startswith("identical: ")
    assert main(["check", "--large", str(large), "--cpt", str(more)]) == 0
    assert capsys.readouterr().out.startswith("expanded: ")
    assert main(["check", "--large", str(more), "--cpt", str(large)]) == 3
    assert "what to do: take a large" in capsys.readouterr().out
    assert main(["check", "--json", "--large", str(more), "--cpt", str(large)]) == 3
    assert json.loads(capsys.readouterr().out)["roles"][1]["n_only_reference"] == 1
    assert main(["check", "--large", str(large.with_name("absent.gguf"))]) == 1
    assert "no such file" in capsys.readouterr().err


# Real vocabularies

LLAMA_CPP = os.environ.get("TRIMIX_LLAMA_CPP", "")


@pytest.mark.skipif(not LLAMA_CPP, reason="TRIMIX_LLAMA_CPP names no source folder of llama.cpp")
@pytest.mark.parametrize(
    ("large", "cpt", "verdict"),
    [
        ("qwen2", "qwen2", "identical"),
        ("gemma-4", "gemma-4", "identical"),
        ("qwen2", "llama-bpe", "different"),
        ("qwen2", "qwen35", "different"),
        ("llama-spm", "phi-3", "different"),
        ("mpt", "gpt-neox", "different"),
        ("starcoder", "refact", "different"),
    ],
)
def test_real_vocabularies(large: str, cpt: str, verdict: str) -> None:
    models = Path(LLAMA_CPP) / "models"
    paths = {r: models / f"ggml-vocab-{n}.gguf" for r, n in (("large", large), ("cpt", cpt))}
    assert report_for(paths).verdict == verdict
