"""MiLiC-Eval (Zhang et al. 2025): `<task>/<language>/{train_1,train_2,train_3,dev,test}.json`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ..errors import TrimixError
from ..prompts import Language, language
from ..prompts.paper import (
    LABEL_GAP,
    Instructions,
    label_question,
    math_question,
    reading_question,
    response_question,
    title_question,
    translation_question,
    vocabulary_question,
)
from .files import first_file, missing, read_json_list
from .tasks import Item, Record, Source, Task, letter_of, letters_of, text_of, texts_of

PUBLISHED = "huggingface.co/datasets/pkupie/milic-eval"
# Its own codes. Kazakh is in the Arabic script, Mongolian in the traditional one.
CODES = {"bod": "bo", "uig": "ug", "kaz": "kk", "mvf": "mn"}
_ALSO = {"eng": "en", "zho": "zh"}
_TITLES = 200
_TITLE_SEED = 1


def _task(name: str, *rest: object, **more: object) -> Task:
    values = dict(zip(("kind", "metric", "column", "shots", "max_tokens"), rest, strict=True))
    return Task(name=name, preset=name, published=PUBLISHED, **values, **more)  # type: ignore[arg-type]


# Name -> (the task, the folders it may lie in, whether English and Chinese have it).
_TASKS: dict[str, tuple[Task, tuple[str, ...], bool]] = {
    "text_classification": (
        _task("text_classification", "label", "accuracy", "MC", 3, 2, passage=1024,
              choosing=(1, 384)),
        ("text_classification_passage", "text_classification"), False,
    ),
    "text_classification_sentence": (
        _task("text_classification_sentence", "label", "accuracy", "MC", 3, 2, passage=1024,
              choosing=(1, 384)),
        ("text_classification_sentence",), True,
    ),
    "response_selection": (
        _task("response_selection", "option", "accuracy", "MC", 5, 2),
        ("response_selection",), True,
    ),
    "reading_comprehension": (
        _task("reading_comprehension", "option", "accuracy", "MC", 5, 2),
        ("reading_comprehension",), True,
    ),
    "vocabulary": (
        _task("vocabulary", "option", "accuracy", "MC", 5, 2), ("vocabulary",), False,
    ),
    "title_generation": (
        _task("title_generation", "text", "ROUGE-L", "LRL-G", 3, 250, passage=1024,
              choosing=(3, 256)),
        ("title_generation_200", "title_generation"), False,
    ),
    "math": (_task("math", "number", "accuracy", "ENG-G", 5, 250), ("math",), True),
}  # fmt: skip
_TRANSLATIONS = {
    "translation": "translation_dialogue",
    "translation_article": "translation_article",
}
SPLITS = ("test", "dev")
STEMS = (*_TASKS, *_TRANSLATIONS)
# Those of the paper's Table 2.
PAPER = (
    "text_classification", "response_selection", "reading_comprehension", "math", "translation",
    "title_generation",
)  # fmt: skip


def task_names(target: Language, instructions: Instructions) -> list[str]:
    """The tasks that MiLiC-Eval has in a language."""
    if target.code in _ALSO:
        return [name for name, (_, _, also) in _TASKS.items() if also]
    if target.code not in CODES:
        return []
    other = _pivot(instructions).code
    directions = [
        f"{name}.{pair}"
        for name in _TRANSLATIONS
        for pair in (f"{target.code}-{other}", f"{other}-{target.code}")
    ]
    return [*_TASKS, *directions]


def having(stem: str) -> list[str]:
    """Codes of the languages that have a task, one of `STEMS`."""
    return [*CODES, *(_ALSO if stem in _TASKS and _TASKS[stem][2] else ())]


def _pivot(instructions: Instructions) -> Language:
    return language("zho" if instructions == "zh" else "eng")


def milic_task(name: str, target: Language) -> Task:
    """The task of this name, one of `task_names`."""
    stem, _, direction = name.partition(".")
    if not direction:
        return _TASKS[stem][0]
    return Task(
        name=name, kind="text", metric="chrF++",
        column="LRL-G" if direction.endswith(f"-{target.code}") else "ENG-G",
        shots=5, max_tokens=200, preset=f"translation.{direction}", published=PUBLISHED,
    )  # fmt: skip


def open_task(
    name: str,
    target: Language,
    folders: Sequence[Path],
    *,
    split: str,
    train: int,
    instructions: Instructions,
) -> Source:
    """The records of the task `name`, one of `task_names`.

    Args:
        name: the task.
        target: its language.
        folders: where the data may lie.
        split: "test" or "dev".
        train: which of the three training sets gives the exemplars.
        instructions: of the prompts; translation is from and into their language.

    Raises:
        TrimixError: a file is missing or not as it must be.
    """
    stem, _, direction = name.partition(".")
    code = {**CODES, **_ALSO}[target.code]
    task = milic_task(name, target)
    build: Callable[..., Item]
    if direction:
        source, goal = (language(part) for part in direction.split("-"))
        places: tuple[str, ...] = (_TRANSLATIONS[stem],)
        build = partial(_translation, source=source, target=goal,
                        keys=(_key(source), _key(goal)), instructions=instructions)  # fmt: skip
    else:
        places = _TASKS[stem][1]
        build = partial(_BUILDERS[stem], target=target, instructions=instructions)
    path, records = _records(folders, places, code, split, name)
    _, exemplars = _records(folders, (path.parent.parent.name,), code, f"train_{train}", name)
    note = ""
    if stem == "title_generation" and path.parent.parent.name == stem and len(records) > _TITLES:
        drawn = sorted(random.Random(_TITLE_SEED).sample(range(len(records)), _TITLES))
        records = [records[i] for i in drawn]
        note = f"{_TITLES} items drawn with seed {_TITLE_SEED}"
    if task.kind == "label":
        labels = tuple(sorted({_label(record, instructions) for record in records}))
        exemplars = [record for record in exemplars if _label(record, instructions) in labels]
        build = partial(build, labels=labels)
    source_ = Source(task, str(path), records, exemplars, build, note)
    for record in (*records, *exemplars):  # what is wrong is found before anything runs
        build(record, None)
    return source_


def _key(side: Language) -> str:
    return {**CODES, **_ALSO}[side.code]


def _records(
    folders: Sequence[Path], places: Sequence[str], code: str, part: str, name: str
) -> tuple[Path, list[Record]]:
    names = [f"{top}{place}/{code}/{part}.json" for place in places for top in ("", "data/")]
    path = first_file(folders, names)
    if path is None:
        lost = missing(folders, names[0], name, PUBLISHED)
        raise lost if part in SPLITS else TrimixError(str(lost))
    records = read_json_list(path)
    seen: set[str] = set()
    for i, record in enumerate(records, 1):
        key = record.get("id")
        if isinstance(key, bool) or not isinstance(key, str | int) or str(key) in seen:
            what = "no 'id'" if key is None else f"the 'id' {key!r} of another one, or no name"
            raise TrimixError(f"{path}: item {i} has {what}")
        seen.add(str(key))
    return path, [{**record, "where": f"{path}: item {record['id']}"} for record in records]


def _label(record: Record, instructions: Instructions) -> str:
    where = record["where"]
    labels = record.get("label")
    if not isinstance(labels, dict):
        raise TrimixError(f"{where} has no 'label' by language: is this another version?")
    return text_of(labels, instructions, f"{where}: its label")


def _item(
    record: Record,
    question: str,
    gap: str,
    answer: str,
    gold: str,
    choices: str | tuple[str, ...] = (),
) -> Item:
    return Item(str(record["id"]), question, gap, answer, gold, tuple(choices))


def _classified(
    record: Record, cut: int | None, *, target: Language, instructions: Instructions,
    labels: tuple[str, ...],
) -> Item:  # fmt: skip
    label, text = _label(record, instructions), text_of(record, "text", record["where"])[:cut]
    question = label_question(text, labels, target, instructions)
    return _item(record, question, LABEL_GAP[instructions], label, label, labels)


def _choice(
    record: Record, question: str, options: Sequence[str], instructions: Instructions
) -> Item:
    """An item that is answered by the letter of an option."""
    answer = letter_of(record, options, record["where"])
    return _item(record, question, LABEL_GAP[instructions], answer, answer, letters_of(options))


def _response(
    record: Record, cut: int | None, *, target: Language, instructions: Instructions
) -> Item:
    where = record["where"]
    options = texts_of(record, "options", where)
    context = texts_of(record, "context", where)
    question = response_question(context, options, target, instructions)
    return _choice(record, question, options, instructions)


def _reading(
    record: Record, cut: int | None, *, target: Language, instructions: Instructions
) -> Item:
    where = record["where"]
    options = texts_of(record, "options", where)
    context, asked = texts_of(record, "context", where), text_of(record, "question", where)
    question = reading_question(context, asked, options, target, instructions)
    return _choice(record, question, options, instructions)


def _word(record: Record, cut: int | None, *, target: Language, instructions: Instructions) -> Item:
    where = record["where"]
    options = texts_of(record, "options", where)
    word = text_of(record, "word", where)
    question = vocabulary_question(word, options, target, instructions)
    return _choice(record, question, options, instructions)


def _title(
    record: Record, cut: int | None, *, target: Language, instructions: Instructions
) -> Item:
    where = record["where"]
    content, title = text_of(record, "content", where)[:cut], text_of(record, "title", where)
    return _item(record, title_question(content, target, instructions), "", title, title)


def _math(record: Record, cut: int | None, *, target: Language, instructions: Instructions) -> Item:
    where = record["where"]
    steps = record.get("cot")
    if not isinstance(steps, dict):
        raise TrimixError(f"{where} has no 'cot' by language: is this another version?")
    solution = text_of(steps, instructions, f"{where}: its 'cot'")
    gold = record.get("answer")
    try:
        float(str(gold).replace(",", ""))
    except ValueError:
        raise TrimixError(f"{where}: the answer is {gold!r}, which is no number") from None
    question = math_question(text_of(record, "question", where), target, instructions)
    return _item(record, question, "", solution, str(gold).replace(",", ""))


def _translation(
    record: Record, cut: int | None, *, source: Language, target: Language,
    keys: tuple[str, str], instructions: Instructions,
) -> Item:  # fmt: skip
    text, right = (text_of(record, key, record["where"]) for key in keys)
    return _item(record, translation_question(text, source, target, instructions), "", right, right)


_BUILDERS: dict[str, Callable[..., Item]] = {
    "text_classification": _classified,
    "text_classification_sentence": _classified,
    "response_selection": _response,
    "reading_comprehension": _reading,
    "vocabulary": _word,
    "title_generation": _title,
    "math": _math,
}
