"""The prompts, to the letter."""

from __future__ import annotations

import pytest

from trimix_cpp.errors import UsageError
from trimix_cpp.prompts import language, paper

UIG, ENG, ZHO, BOD = map(language, ("uig", "eng", "zho", "bod"))
EXPECTED = {
    "translation": (
        paper.translation_question("سالام", UIG, ENG),
        "Please translate the following Uyghur text into English.\nUyghur: سالام\nEnglish: ",
    ),
    "translation, zh": (
        paper.translation_question("སློབ་གྲྭ", BOD, ZHO, "zh"),
        "请将下面的藏语文本翻译成汉语。\n藏语：སློབ་གྲྭ\n汉语：",
    ),
    "title": (
        paper.title_question("خەۋەر", UIG),
        "Please write a title for the following article in Uyghur.\nArticle: خەۋەر\nTitle: ",
    ),
    "title, zh": (
        paper.title_question("خەۋەر", UIG, "zh"),
        "请为以下维吾尔语文章写一个标题。\n文章：خەۋەر\n标题：",
    ),
    "label": (
        paper.label_question("ཡི་གེ", ("Art", "Law"), BOD),
        "Please classify the following Tibetan text.\nText: ཡི་གེ\n"
        "Candidate labels: Art, Law\nAnswer:",
    ),
    "label, zh": (
        paper.label_question("ཡི་གེ", ("法律", "艺术"), BOD, "zh"),
        "请判断以下藏语文本的类别：\n文本：ཡི་གེ\n候选类别：法律、艺术\n答案：",
    ),
    "response": (
        paper.response_question(["بىر", "ئىككى"], ["ئۈچ", "تۆت"], UIG),
        "Please select an appropriate response for the following Uyghur dialogue.\nContext:\n"
        "بىر\nئىككى\nOptions:\nA. ئۈچ\nB. تۆت\nAnswer:",
    ),
    "response, zh": (
        paper.response_question(["بىر"], ["ئۈچ", "تۆت"], UIG, "zh"),
        "请为以下维吾尔语对话选择合适的回答。\n对话内容：\nبىر\n选项：\nA. ئۈچ\nB. تۆت\n答案：",
    ),
    "reading": (
        paper.reading_question(["بىر"], "نېمە؟", ["ئۈچ"], UIG),
        "Please read the following Uyghur dialogue and answer the question.\nContext:\nبىر\n"
        "Question: نېمە؟\nOptions:\nA. ئۈچ\nAnswer:",
    ),
    "reading, zh": (
        paper.reading_question(["بىر"], "نېمە؟", ["ئۈچ"], UIG, "zh"),
        "请阅读以下维吾尔语对话并回答问题。\n对话内容：\nبىر\n问题：نېمە؟\n选项：\nA. ئۈچ\n答案：",
    ),
    "vocabulary": (
        paper.vocabulary_question("سۇ", ["fire", "water"], UIG),
        "Please choose the meaning of the Uyghur word سۇ.\nOptions:\nA. fire\nB. water\nAnswer:",
    ),
    "vocabulary, zh": (
        paper.vocabulary_question("سۇ", ["火"], UIG, "zh"),
        "请选出维吾尔语单词سۇ的含义。\n选项：\nA. 火\n答案：",
    ),
    "math": (
        paper.math_question("1 + 1?", UIG),
        "Please solve the following Uyghur math problem step by step.\nProblem: 1 + 1?\n"
        "Step-by-step solution: ",
    ),
    "math, zh": (
        paper.math_question("1 + 1?", UIG, "zh"),
        "请分步解答下面的维吾尔语数学问题。\n问题：1 + 1?\n分步解答：",
    ),
    "Belebele": (
        paper.passage_question("རི", "ག་རེ?", ["ཆུ", "རི"]),
        "P: རི\nQ: ག་རེ?\nA: ཆུ\nB: རི\nAnswer:",
    ),
}


@pytest.mark.parametrize(("found", "expected"), EXPECTED.values(), ids=EXPECTED.keys())
def test_questions(found: str, expected: str) -> None:
    assert found == expected


def test_exemplars_stand_before() -> None:
    prompt = paper.translation_prompt("c", ENG, UIG, [("a", "ئا"), ("b", "بې")])
    asked = "Please translate the following English text into Uyghur.\nEnglish: {}\nUyghur: "
    assert prompt == asked.format("a") + "ئا\n\n" + asked.format("b") + "بې\n\n" + asked.format("c")


def test_chinese_has_names_of_some_languages() -> None:
    with pytest.raises(UsageError, match="no name for Tamil; known are bod, eng, "):
        paper.title_question("x", language("tam"), "zh")
