"""Tiny data sets, laid out and spelled as their publishers do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

UYGHUR = ("كىتاب", "مەكتەپ", "دەرس ۋە ئوقۇتقۇچى", "بازار", "ئەتىگەن", "شەھەر", "سۇ", "تاغ")
TIBETAN = ("དེབ་", "སློབ་གྲྭ་", "ཉིན་མོ་", "ཁྲོམ་", "ཞོགས་པ་", "གྲོང་ཁྱེར་", "ཆུ་", "རི་")
WORDS = {"ug": UYGHUR, "bo": TIBETAN}
ENGLISH = ("book", "school", "lesson and teacher", "market", "morning", "city", "water", "mountain")
SIB_LABELS = (
    "science/technology", "travel", "politics", "sports", "health", "entertainment", "geography",
)  # fmt: skip


def milic_records(task: str, code: str, n: int, offset: int = 0) -> list[dict[str, Any]]:
    """`n` items of a task of MiLiC-Eval."""
    words = WORDS[code]
    records = []
    for i in range(offset, offset + n):
        word, other, english = words[i % 8], words[(i + 3) % 8], ENGLISH[i % 8]
        record: dict[str, Any] = {"id": f"{task}-{code}-{i}"}
        letter = "ABCD"[i % 4]
        options = [words[(i + k) % 8] for k in range(4)]
        if task.startswith("text_classification"):
            label = (("Sports", "体育"), ("Law", "法律"), ("Art", "艺术"))[i % 3]
            record |= {"text": f"{word} {other}؟ {i}", "label": {"en": label[0], "zh": label[1]}}
        elif task == "response_selection":
            record |= {"context": [word, other], "options": options, "answer": letter}
        elif task == "reading_comprehension":
            record |= {"context": [f"A: {word}", f"B: {other}"], "question": f"{word}؟",
                       "options": options, "answer": letter}  # fmt: skip
        elif task == "vocabulary":
            record |= {"word": word, "options": list(ENGLISH[:4]), "answer": letter}
        elif task == "title_generation":
            record |= {"content": f"{word} {other} " * 5, "title": f"{word} {other}"}
        elif task == "math":
            steps = {"en": f"It is {i} + 1,000 = {i + 1000}.", "zh": f"是{i + 1000}"}
            record |= {"question": f"{word} {i} + 1,000?", "answer": f"{i + 1000}", "cot": steps}
        else:
            record |= {code: f"{word} {other} {i}", "en": f"{english} {i}", "zh": f"书{i}"}
        records.append(record)
    return records


MILIC_TASKS = (
    "text_classification_passage", "text_classification_sentence", "response_selection",
    "reading_comprehension", "vocabulary", "title_generation", "math", "translation_dialogue",
    "translation_article",
)  # fmt: skip


def write_milic(folder: Path, codes: tuple[str, ...] = ("ug", "bo"), n: int = 6) -> Path:
    """MiLiC-Eval with `n` items in each test split."""
    for task in MILIC_TASKS:
        for code in codes:
            place = folder / task / code
            place.mkdir(parents=True)
            splits = {"test": (n, 0), "dev": (3, 50), "train_1": (9, 100), "train_2": (9, 200),
                      "train_3": (9, 300)}  # fmt: skip
            for split, (count, offset) in splits.items():
                records = milic_records(task, code, count, offset)
                text = json.dumps(records, ensure_ascii=False, indent=4)
                (place / f"{split}.json").write_text(text, encoding="utf-8")
    return folder


def write_sib(folder: Path, code: str = "uig_Arab", n: int = 7) -> Path:
    """SIB-200 in one language."""
    (folder / code).mkdir(parents=True)
    for split, offset in (("train", 0), ("dev", 100), ("test", 200)):
        lines = ["index_id\tcategory\ttext"]
        for i in range(max(n, 14) if split == "train" else n):
            label, word = SIB_LABELS[i % 7], UYGHUR[i % 8]
            lines.append(f'{offset + i}\t{label}\t"{word} {UYGHUR[(i + 3) % 8]} {i}')
        (folder / code / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_belebele(folder: Path, code: str = "bod_Tibt", n: int = 5, train: bool = False) -> Path:
    """Belebele in one language."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (code, *(("train",) if train else ())):
        lines = [
            json.dumps({
                "link": "https://en.wikinews.org/wiki/X", "question_number": 1 + i % 2,
                "flores_passage": f"{TIBETAN[i % 8]}{TIBETAN[(i + 1) % 8]} {name}",
                "question": f"{TIBETAN[i % 8]}?", "mc_answer1": "ཆུ", "mc_answer2": "རི",
                "mc_answer3": "ཁྲོམ", "mc_answer4": "དེབ", "correct_answer_num": str(1 + i % 4),
                "dialect": code, "ds": "2023-05-03",
            }, ensure_ascii=False)
            for i in range(n)
        ]  # fmt: skip
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_pairs(folder: Path, n: int = 6) -> Path:
    """Pairs of English and Uyghur."""
    (folder / "en-ug").mkdir(parents=True)
    for split, offset in (("train", 0), ("dev", 100)):
        lines = ["id\ten\tug\tsource"]
        for i in range(offset, offset + n):
            lines.append(f"ug-{i}\t{ENGLISH[i % 8]}\t{UYGHUR[i % 8]}\tgedit")
        (folder / "en-ug" / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
