"""Files in their publishers' formats become items; what is wrong with them is told in a line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trimix_cpp.errors import TrimixError, UsageError
from trimix_cpp.evaluate.catalogue import DataFolders
from trimix_cpp.prompts import language
from trimix_cpp.prompts.paper import label_question, translation_question

from .datasets import UYGHUR, write_belebele, write_milic, write_pairs, write_sib

UIG, BOD, ENG = language("uig"), language("bod"), language("eng")


@pytest.fixture(scope="module")
def milic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_milic(tmp_path_factory.mktemp("milic"))


def test_all_of_milic(milic: Path) -> None:
    sources = DataFolders([milic], UIG).wanted(["all"])
    found = {
        s.task.name: (s.task.kind, s.task.metric, s.task.column, len(s.exemplars()), s.task.preset)
        for s in sources
    }
    closed = ("accuracy", "MC")
    assert found == {
        "text_classification": ("label", *closed, 9, "text_classification"),
        "text_classification_sentence": ("label", *closed, 9, "text_classification_sentence"),
        "response_selection": ("option", *closed, 5, "response_selection"),
        "reading_comprehension": ("option", *closed, 5, "reading_comprehension"),
        "vocabulary": ("option", *closed, 5, "vocabulary"),
        "title_generation": ("text", "ROUGE-L", "LRL-G", 3, "title_generation"),
        "math": ("number", "accuracy", "ENG-G", 5, "math"),
        "translation.uig-eng": ("text", "chrF++", "ENG-G", 5, "translation.uig-eng"),
        "translation.eng-uig": ("text", "chrF++", "LRL-G", 5, "translation.eng-uig"),
        "translation_article.uig-eng": ("text", "chrF++", "ENG-G", 5, "translation.uig-eng"),
        "translation_article.eng-uig": ("text", "chrF++", "LRL-G", 5, "translation.eng-uig"),
    }
    assert all(len(s.items()) == 6 and len(s.items(4)) == 4 for s in sources)
    limits = {s.task.name: s.task.max_tokens for s in sources}
    assert limits["response_selection"] == 2
    assert limits["math"] == limits["title_generation"] == 250
    assert limits["translation.eng-uig"] == 200


def test_the_papers_seven(milic: Path) -> None:
    names = [s.task.name for s in DataFolders([milic], BOD).wanted(["paper"])]
    assert names == [
        "text_classification", "response_selection", "reading_comprehension", "math",
        "translation.bod-eng", "translation.eng-bod", "title_generation",
    ]  # fmt: skip


def test_translation_items(milic: Path) -> None:
    (one,) = DataFolders([milic], UIG).wanted(["translation.eng-uig"])
    item, shot = one.items()[1], one.exemplars()[0]
    asked = f"{UYGHUR[1]} {UYGHUR[4]} 1"
    assert item.question == translation_question("school 1", ENG, UIG)
    assert (item.gold, item.answer, item.gap, item.choices) == (asked, asked, "", ())
    assert shot.question == translation_question("morning 100", ENG, UIG)  # of train_1
    (other,) = DataFolders([milic], UIG, train=2).wanted(["translation.eng-uig"])
    assert other.exemplars()[0].question == translation_question("book 200", ENG, UIG)
    (back,) = DataFolders([milic], UIG).wanted(["translation.uig-eng"])
    assert back.items()[1].question == translation_question(asked, UIG, ENG)


def test_labels_are_sorted_and_exemplars_are_of_each(milic: Path) -> None:
    (source,) = DataFolders([milic], UIG).wanted(["text_classification"])
    item = source.items()[0]
    text = f"{UYGHUR[0]} {UYGHUR[3]}؟ 0"
    assert item.choices == ("Art", "Law", "Sports")
    assert item.question == label_question(text, ("Art", "Law", "Sports"), UIG)
    assert item.question.endswith("Candidate labels: Art, Law, Sports\nAnswer:")
    assert (item.gap, item.answer, item.gold) == (" ", "Sports", "Sports")
    shots = source.exemplars()
    assert sorted(shot.gold for shot in shots) == ["Art"] * 3 + ["Law"] * 3 + ["Sports"] * 3
    assert [shot.id for shot in shots] == [shot.id for shot in source.exemplars()]
    assert [shot.gold for shot in shots] != sorted(shot.gold for shot in shots)  # mixed


def test_chinese_instructions(milic: Path) -> None:
    folders = DataFolders([milic], UIG, instructions="zh")
    names = [s.task.name for s in folders.wanted(["all"])]
    assert "translation.uig-zho" in names
    assert "translation.zho-uig" in names
    (label,) = folders.wanted(["text_classification"])
    assert label.items()[0].choices == ("体育", "法律", "艺术")
    assert label.items()[0].gap == ""
    (title,) = folders.wanted(["title_generation"])
    assert title.items()[0].question.startswith("请为以下维吾尔语文章写一个标题。\n")


def test_passages_are_cut(tmp_path: Path) -> None:
    write_milic(tmp_path, ("ug",))
    path = tmp_path / "title_generation" / "ug" / "test.json"
    records = json.loads(path.read_text())
    records[0]["content"] = "سۇ" * 2000
    path.write_text(json.dumps(records))
    (source,) = DataFolders([tmp_path], UIG).wanted(["title_generation"])
    assert source.items()[0].question.count("س") == 512  # 1024 characters
    items, shots = source.choosing(50, seed=0)
    assert max(item.question.count("س") for item in items) == 128
    assert len(shots) == 3


def test_200_titles_are_drawn(tmp_path: Path) -> None:
    write_milic(tmp_path, ("ug",), n=260)
    (source,) = DataFolders([tmp_path], UIG).wanted(["title_generation"])
    ids = [item.id for item in source.items()]
    assert len(ids) == len(set(ids)) == 200
    assert source.note == "200 items drawn with seed 1"
    (again,) = DataFolders([tmp_path], UIG).wanted(["title_generation"])
    assert [item.id for item in again.items()] == ids


def test_choosing_draws_by_the_seed(milic: Path) -> None:
    (source,) = DataFolders([milic], UIG).wanted(["text_classification"])
    items, shots = source.choosing(4, seed=1)
    assert [item.id for item in items] == [item.id for item in source.choosing(4, seed=1)[0]]
    assert len(items) == 4
    assert len(shots) == 3  # one a label
    assert len(source.choosing(50, seed=0)[0]) == 6


def test_sib200(tmp_path: Path) -> None:
    folders = DataFolders([write_sib(tmp_path / "sib200").parent], UIG, split="dev")
    (source,) = folders.wanted(["all"])
    item = source.items()[0]
    assert item.id == "100"
    assert item.gold == "science/technology"
    assert item.choices[0] == "entertainment"
    assert len(item.choices) == 7
    assert f'Text: "{UYGHUR[0]} {UYGHUR[3]} 0\n' in item.question  # quotes are text
    assert len(source.exemplars()) == 7
    assert {shot.id for shot in source.exemplars()} <= {str(i) for i in range(14)}


@pytest.mark.parametrize("train", [False, True])
def test_belebele(tmp_path: Path, train: bool) -> None:
    write_belebele(tmp_path, train=train)
    (source,) = DataFolders([tmp_path], BOD).wanted(["belebele"])
    item = source.items()[2]
    assert item.question.startswith("P: ཉིན་མོ་ཁྲོམ་ bod_Tibt\nQ: ཉིན་མོ་?\nA: ཆུ\nB: རི\n")
    assert item.question.endswith("D: དེབ\nAnswer:")
    assert (item.gold, item.choices) == ("C", ("A", "B", "C", "D"))
    assert len(source.exemplars()) == (5 if train else 0)
    assert bool(source.note) is not train


def test_pairs(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    path = tmp_path / "en-ug" / "dev.tsv"
    (tmp_path / "en-ug" / "dev.tsv.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    folders = DataFolders([tmp_path], UIG, split="dev")
    sources = folders.wanted(["pairs"])
    assert [s.task.name for s in sources] == ["pairs.uig-eng", "pairs.eng-uig"]
    item = sources[1].items()[0]
    assert item.question == translation_question("morning", ENG, UIG)
    assert item.gold == UYGHUR[4]


def test_folders_are_looked_at_in_turn(tmp_path: Path, milic: Path) -> None:
    write_sib(tmp_path / "data" / "annotated")
    names = [s.task.name for s in DataFolders([tmp_path, milic], UIG).wanted(["all"])]
    assert names[-1] == "sib200"
    assert "math" in names


def change(task: str, edit: Callable[[list[dict[str, Any]]], Any], part: str = "test") -> Any:
    def spoil(folder: Path) -> None:
        path = folder / task / "ug" / f"{part}.json"
        records = json.loads(path.read_text())
        path.write_text(json.dumps(edit(records) or records))

    return spoil


def write(name: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(data)


MATH, READING, LABELS = "math/ug/test.json", "reading_comprehension", "text_classification"
BAD: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "no file": (
        "math",
        lambda f: (f / MATH).unlink(),
        f"no {MATH}, which math needs; it is published at huggingface.co/datasets/pkupie/mil",
    ),
    "no exemplars": (
        "math",
        lambda f: (f / "math/ug/train_1.json").unlink(),
        "no math/ug/train_1.json",
    ),
    "no JSON": ("math", write(MATH, b"[{"), "is not JSON"),
    "an object": ("math", write(MATH, b"{}"), "is no list of JSON objects"),
    "empty list": ("math", write(MATH, b"[]"), "there is nothing in it"),
    "UTF-16": ("math", write(MATH, "[]\n".encode("utf-16")), "line 1 is not UTF-8"),
    "latin-1": ("math", write(MATH, b'[\n{"id": "\xe4"}]'), "line 2 is not UTF-8"),
    "surrogate": ("math", write(MATH, b'[{"id": "\\ud800"}]'), "half of a character"),
    "deep": ("math", write(MATH, b"[" * 100_000), "nested too deeply"),
    "no id": ("math", change("math", lambda r: r[1].pop("id") and r), "item 2 has no 'id'"),
    "same id": ("math", change("math", lambda r: r[1].update(id=r[0]["id"])), "of another one"),
    "no question": (
        "math",
        change("math", lambda r: r[2].pop("question") and r),
        "item math-ug-2 has no 'question': is this another version",
    ),
    "blank question": (
        "math",
        change("math", lambda r: r[2].update(question=" ")),
        "has an empty 'question'",
    ),
    "no number": (
        "math",
        change("math", lambda r: r[0].update(answer="x")),
        "the answer is 'x', which is no number",
    ),
    "cot a text": (
        "math",
        change("math", lambda r: r[0].update(cot="x")),
        "has no 'cot' by language",
    ),
    "no context": (
        READING,
        change(READING, lambda r: r[0].update(context=[])),
        "has an empty 'context'",
    ),
    "blank turn": (
        READING,
        change(READING, lambda r: r[0].update(context=["a", ""])),
        "or an empty text in it",
    ),
    "context a text": (
        READING,
        change(READING, lambda r: r[0].update(context="abc")),
        "has no list under 'context'",
    ),
    "wrong letter": (
        READING,
        change(READING, lambda r: r[0].update(answer="E")),
        "the answer is 'E', but its options are ABCD",
    ),
    "number for a text": (
        READING,
        change(READING, lambda r: r[0].update(question=3)),
        "has no text under 'question'",
    ),
    "labels a text": (
        LABELS,
        change(f"{LABELS}_passage", lambda r: r[0].update(label="Art")),
        "has no 'label' by language",
    ),
    "no label": (
        LABELS,
        change(f"{LABELS}_passage", lambda r: r[0].update(label={"zh": "x"})),
        "its label has no 'en'",
    ),
    "no reference": (
        "translation.eng-uig",
        change("translation_dialogue", lambda r: r[0].pop("ug") and r),
        "has no 'ug'",
    ),
    "exemplar": (
        "math",
        change("math", lambda r: r[0].pop("cot") and r, "train_1"),
        "train_1.json: item math-ug-100",
    ),
}


@pytest.mark.parametrize(("task", "spoil", "message"), BAD.values(), ids=BAD.keys())
def test_bad_milic(tmp_path: Path, task: str, spoil: Callable[[Path], Any], message: str) -> None:
    write_milic(tmp_path, ("ug",))
    spoil(tmp_path)
    with pytest.raises(TrimixError) as caught:
        DataFolders([tmp_path], UIG).wanted([task])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_does_not_hide_a_broken_file(tmp_path: Path) -> None:
    write_milic(tmp_path, ("ug",))
    (tmp_path / MATH).write_text("[{")
    with pytest.raises(TrimixError, match="is not JSON"):
        DataFolders([tmp_path], UIG).wanted(["all"])
    (tmp_path / MATH).unlink()
    assert "math" not in [s.task.name for s in DataFolders([tmp_path], UIG).wanted(["all"])]


def line(text: str, head: str = "index_id\tcategory\ttext") -> bytes:
    return f"{head}\n{text}\n".encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (line("1\ttravel"), "line 2 has 2 columns instead of 3"),
        (line("1\ttravels\tx"), "line 2 has the category 'travels'"),
        (line("1\ttravel\t "), "line 2 has no text"),
        (line("1\ttravel\tx", "index_id\tlabel\ttext"), "has no column 'category'"),
        (line("1\ttravel\tx\n1\ttravel\ty"), "line 3 has the index_id of an earlier one"),
        (b"index_id\tcategory\ttext\n", "there is nothing in it"),
        (b"", "has no column 'index_id'"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_bad_sib200(tmp_path: Path, data: bytes, message: str) -> None:
    write_sib(tmp_path)
    (tmp_path / "uig_Arab" / "test.tsv").write_bytes(data)
    with pytest.raises(TrimixError, match=message):
        DataFolders([tmp_path], UIG).wanted(["sib200"])


def test_bad_belebele(tmp_path: Path) -> None:
    write_belebele(tmp_path)
    path = tmp_path / "bod_Tibt.jsonl"
    path.write_text(
        path.read_text().replace('"correct_answer_num": "3"', '"correct_answer_num": 7')
    )
    with pytest.raises(TrimixError, match="line 3: 'correct_answer_num' is 7, but must be"):
        DataFolders([tmp_path], BOD).wanted(["belebele"])


def test_damaged_gzip(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    path = tmp_path / "en-ug" / "dev.tsv"
    path.with_name("dev.tsv.gz").write_bytes(gzip.compress(path.read_bytes())[:40])
    path.unlink()
    with pytest.raises(TrimixError, match=r"dev\.tsv\.gz: is damaged"):
        DataFolders([tmp_path], UIG, split="dev").wanted(["pairs"])


@pytest.mark.parametrize(
    ("code", "names", "message"),
    [
        ("uig", ["reading_comprehensoin"], "did you mean reading_comprehension"),
        ("uig", ["belebele"], "Belebele has no Uyghur .uig.; it has acm_Arab, .*bod_Tibt"),
        ("mvf", ["belebele"], "Belebele has no Mongolian .mvf.;"),
        ("khk", ["math"], "MiLiC-Eval's math has no Mongolian .khk.; it has bod, eng, kaz, mvf"),
        ("tam", ["paper"], "MiLiC-Eval has no Tamil .tam.; it has bod, kaz, mvf, uig"),
        ("eng", ["title_generation"], "title_generation has no English .eng.; it has bod, kaz"),
        ("uig", [""], "unknown task ''"),
    ],
)
def test_tasks_that_are_not_there(milic: Path, code: str, names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        DataFolders([milic], language(code)).wanted(names)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(TrimixError, match="no data of a task in Uyghur"):
        DataFolders([tmp_path], UIG).wanted(["all"])
    with pytest.raises(TrimixError, match=r"no uig_Arab/test\.tsv, which sib200 needs; it is"):
        DataFolders([tmp_path], UIG).wanted(["sib200"])
