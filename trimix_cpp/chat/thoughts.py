"""What a model thinks before it answers, told apart from the answer.

Models such as Qwen3 write `<think>`, then what they think, then `</think>` and the answer; some
chat templates write the first of these themselves. Only the answer is said: the next turn's prompt
has no thoughts in it.
"""

from __future__ import annotations

from typing import Literal

OPEN, CLOSE = "<think>", "</think>"
_Place = Literal["start", "thought", "gap", "answer"]


class Thoughts:
    """Parts a reply as it comes.

    Args:
        inside: the prompt ends with `<think>`: the reply begins with a thought.

    Attributes:
        thought: what was thought so far, without the line breaks around it.
        answer: what was said so far; a reply without thoughts is the answer, to the letter.
    """

    def __init__(self, *, inside: bool = False) -> None:
        self.thought = self.answer = ""
        self._place: _Place = "thought" if inside else "start"
        self._held = ""

    def push(self, piece: str) -> tuple[str, str]:
        """Take what comes next; what is certain now of the thought, and of the answer."""
        self._held += piece
        thought = answer = ""
        if self._place == "start":
            self._leave_start()
        if self._place == "thought":
            thought = self._think()
        if self._place == "gap" and (rest := self._held.lstrip("\r\n")):
            self._held, self._place = rest, "answer"
        if self._place == "answer":
            answer, self._held = self._held, ""
            self.answer += answer
        return thought, answer

    def finish(self) -> tuple[str, str]:
        """The rest, when nothing more comes."""
        rest, self._held = self._held, ""
        if self._place == "thought":
            thought, self.thought = rest.rstrip("\r\n"), (self.thought + rest).rstrip("\r\n")
            return thought, ""
        if self._place == "gap":
            return "", ""
        self.answer += rest
        return "", rest

    def _leave_start(self) -> None:
        begun = self._held.lstrip()
        if begun.startswith(OPEN):
            self._held, self._place = begun[len(OPEN) :], "thought"
        elif not OPEN.startswith(begun):
            self._place = "answer"

    def _think(self) -> str:
        """What is certain of the thought; the mark of its end may have begun."""
        if not self.thought:
            self._held = self._held.lstrip("\r\n")
        at = self._held.find(CLOSE)
        if at >= 0:
            thought, self._held = self._held[:at].rstrip("\r\n"), self._held[at + len(CLOSE) :]
            self._place = "gap"
        else:
            end = len(self._held.rstrip("\r\n"))
            for n in range(min(len(CLOSE), end), 0, -1):
                if CLOSE.startswith(self._held[end - n : end]):
                    end = len(self._held[: end - n].rstrip("\r\n"))
                    break
            thought, self._held = self._held[:end], self._held[end:]
        self.thought += thought
        return thought


def thought_and_answer(text: str, *, inside: bool = False) -> tuple[str, str]:
    """The thought and the answer of a whole reply."""
    thoughts = Thoughts(inside=inside)
    thoughts.push(text)
    thoughts.finish()
    return thoughts.thought, thoughts.answer
