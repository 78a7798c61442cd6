"""The bundled trio in exact mode, asked over a pipe: what the commands give on the same prompts.

Exact mode must be chosen before the first decode of a process, so it has a process of its own. One
JSON document a line: what is asked comes in on standard input, what came of it goes out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import trimix_cpp
from trimix_cpp.files import Closing

ROOT = Path(__file__).resolve().parents[2]


class ExactTrio(Closing):
    """The other end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
            encoding="utf-8",
        )

    def _ask(self, do: str, **asked: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **asked}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def generate(self, prompt: str, **options: Any) -> str:
        """The text of `TriMix.generate`."""
        return str(self._ask("generate", prompt=prompt, options=options))

    def replies(self, said: list[str], **options: Any) -> list[dict[str, Any]]:
        """What a chat answers to these texts, one after the other."""
        found: list[dict[str, Any]] = self._ask("replies", said=said, options=options)
        return found

    def translate(self, text: str) -> str:
        """From English into Uyghur."""
        return str(self._ask("translate", text=text))

    def score(self, context: str, rest: str) -> dict[str, Any]:
        """`logprobs` and `greedy` of `TriMix.score`."""
        found: dict[str, Any] = self._ask("score", context=context, rest=rest)
        return found

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


def _done(trio: trimix_cpp.api.TriMix, asked: dict[str, Any]) -> Any:
    if asked["do"] == "generate":
        return trio.generate(asked["prompt"], **asked["options"]).text
    if asked["do"] == "translate":
        return trio.translate([asked["text"]], source="eng", target="uig")[0]
    if asked["do"] == "score":
        score = trio.score(asked["context"], asked["rest"])
        return {"logprobs": score.logprobs, "greedy": score.greedy}
    with trio.chat(**asked["options"]) as chat:
        return [
            {
                "text": each.text,
                "prompt_tokens": each.prompt_tokens,
                "tokens": len(each.token_ids),
                "weights": each.weights.as_json(),
            }
            for each in map(chat.send, asked["said"])
        ]


def main() -> None:
    """Answer until standard input ends."""
    with trimix_cpp.load("demo", exact=True, n_threads=1, n_ctx=512) as trio:
        for line in sys.stdin:
            print(json.dumps(_done(trio, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
