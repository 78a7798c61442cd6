"""The paper's prompt formats."""

from __future__ import annotations

from collections.abc import Sequence

from .languages import Language


def translation_prompt(
    text: str, source: Language, target: Language, shots: Sequence[tuple[str, str]] = ()
) -> str:
    """The paper's translation prompt (its appendix on prompts; 200 tokens, greedy, 5 exemplars).

    `shots` are (source text, translation); each stands in the same format, with a blank line
    after it. The prompt ends where the translation begins, which ends at a newline.
    """
    asked = [_translation(shot, source, target) + answer for shot, answer in shots]
    return "\n\n".join([*asked, _translation(text, source, target)])


def _translation(text: str, source: Language, target: Language) -> str:
    return (
        f"Please translate the following {source.name} text into {target.name}.\n"
        f"{source.name}: {text}\n{target.name}: "
    )
