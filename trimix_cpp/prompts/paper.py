"""The paper's prompt formats, with English or Chinese instructions.

A question ends where its answer begins. English ones end with a space where a text is to come, and
without one where a label is: the answers of exemplars then begin with it (`LABEL_GAP`). The formats
are those of the published scripts, which took them from MiLiC-Eval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UsageError
from .languages import Language

Instructions = Literal["en", "zh"]
# What stands between "Answer:" and a label.
LABEL_GAP = {"en": " ", "zh": ""}
_CHINESE = {
    "zho": "汉语", "eng": "英语", "mvf": "蒙古语", "mon": "蒙古语", "khk": "蒙古语",
    "kaz": "哈萨克语", "uig": "维吾尔语", "bod": "藏语",
}  # fmt: skip


def few_shot(shots: Sequence[tuple[str, str]], question: str) -> str:
    """Questions with their answers, a blank line after each, then `question`."""
    return "".join(f"{asked}{answer}\n\n" for asked, answer in shots) + question


def translation_prompt(
    text: str,
    source: Language,
    target: Language,
    shots: Sequence[tuple[str, str]] = (),
    context: str = "",
) -> str:
    """The paper's translation prompt (its appendix on prompts; 200 tokens, greedy, 5 exemplars).

    `shots` are (source text, translation). The answer ends at a newline. `context`, which the paper
    has not, are whole lines that stand before the line of the text.
    """
    asked = [(translation_question(shot, source, target), answer) for shot, answer in shots]
    return few_shot(asked, translation_question(text, source, target, context=context))


def translation_question(
    text: str,
    source: Language,
    target: Language,
    instructions: Instructions = "en",
    context: str = "",
) -> str:
    """Asks for a translation of one line; `context` are whole lines before it."""
    one, other = _name(source, instructions), _name(target, instructions)
    if instructions == "zh":
        return f"请将下面的{one}文本翻译成{other}。\n{context}{one}：{text}\n{other}："
    asked = f"Please translate the following {one} text into {other}.\n"
    return f"{asked}{context}{one}: {text}\n{other}: "


def title_question(content: str, language: Language, instructions: Instructions = "en") -> str:
    """Asks for the title of an article."""
    name = _name(language, instructions)
    if instructions == "zh":
        return f"请为以下{name}文章写一个标题。\n文章：{content}\n标题："
    return f"Please write a title for the following article in {name}.\nArticle: {content}\nTitle: "


def label_question(
    text: str, labels: Sequence[str], language: Language, instructions: Instructions = "en"
) -> str:
    """Asks which of the labels a text has."""
    name = _name(language, instructions)
    if instructions == "zh":
        listed = "、".join(labels)
        return f"请判断以下{name}文本的类别：\n文本：{text}\n候选类别：{listed}\n答案："
    return (
        f"Please classify the following {name} text.\nText: {text}\n"
        f"Candidate labels: {', '.join(labels)}\nAnswer:"
    )


def response_question(
    context: Sequence[str],
    options: Sequence[str],
    language: Language,
    instructions: Instructions = "en",
) -> str:
    """Asks for the option that goes on with a dialogue."""
    name = _name(language, instructions)
    if instructions == "zh":
        return (
            f"请为以下{name}对话选择合适的回答。\n"
            f"对话内容：\n{_lines(context)}{_options(options, 'zh')}"
        )
    return (
        f"Please select an appropriate response for the following {name} dialogue.\n"
        f"Context:\n{_lines(context)}{_options(options, 'en')}"
    )


def reading_question(
    context: Sequence[str],
    question: str,
    options: Sequence[str],
    language: Language,
    instructions: Instructions = "en",
) -> str:
    """Asks a question on a dialogue."""
    name = _name(language, instructions)
    if instructions == "zh":
        return (
            f"请阅读以下{name}对话并回答问题。\n对话内容：\n{_lines(context)}"
            f"问题：{question}\n{_options(options, 'zh')}"
        )
    return (
        f"Please read the following {name} dialogue and answer the question.\n"
        f"Context:\n{_lines(context)}Question: {question}\n{_options(options, 'en')}"
    )


def vocabulary_question(
    word: str, options: Sequence[str], language: Language, instructions: Instructions = "en"
) -> str:
    """Asks what a word means."""
    name = _name(language, instructions)
    if instructions == "zh":
        return f"请选出{name}单词{word}的含义。\n{_options(options, 'zh')}"
    return f"Please choose the meaning of the {name} word {word}.\n{_options(options, 'en')}"


def math_question(problem: str, language: Language, instructions: Instructions = "en") -> str:
    """Asks for a solution, step by step."""
    name = _name(language, instructions)
    if instructions == "zh":
        return f"请分步解答下面的{name}数学问题。\n问题：{problem}\n分步解答："
    return (
        f"Please solve the following {name} math problem step by step.\n"
        f"Problem: {problem}\nStep-by-step solution: "
    )


def passage_question(passage: str, question: str, options: Sequence[str]) -> str:
    """Belebele's own format, which has no instruction."""
    listed = "".join(f"{chr(ord('A') + i)}: {option}\n" for i, option in enumerate(options))
    return f"P: {passage}\nQ: {question}\n{listed}Answer:"


def _name(language: Language, instructions: Instructions) -> str:
    if instructions == "en":
        return language.name
    if language.code not in _CHINESE:
        raise UsageError(
            f"the Chinese instructions have no name for {language.name}; known are "
            + ", ".join(sorted(_CHINESE))
        )
    return _CHINESE[language.code]


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _options(options: Sequence[str], instructions: Instructions) -> str:
    """The options under A, B, …, and where the answer comes."""
    head, end = ("选项：", "答案：") if instructions == "zh" else ("Options:", "Answer:")
    listed = "".join(f"{chr(ord('A') + i)}. {option}\n" for i, option in enumerate(options))
    return f"{head}\n{listed}{end}"
