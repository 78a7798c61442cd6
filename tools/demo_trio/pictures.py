"""The README's pictures, as SVG that is readable on light and dark.

    python tools/demo_trio/pictures.py figures.json docs/images

`fusion.svg`: the likeliest next tokens of the three models at one step of a translation, and those
of the fused row, from the bundled files. `figures.svg`: chrF++ of the methods, from the JSON that
evaluate.py wrote.
"""

from __future__ import annotations

import argparse
import json
from html import escape
from pathlib import Path

import numpy as np

from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Trio
from trimix_cpp.fusion.rows import fuse, log_softmax
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.prompts.languages import language
from trimix_cpp.prompts.paper import translation_prompt
from trimix_cpp.prompts.samples import EXEMPLARS
from trimix_cpp.quant.options import Options
from trimix_cpp.store.trios import find_trio

ROLES = ("large", "cpt", "base")
# Bars have colours of middle lightness, which both grounds show; the text changes with the ground.
STYLE = """<style>
text { font: 13px sans-serif; fill: #6e7781 }
.head { font-weight: bold } .number { font-size: 12px }
.large { fill: #3b82c4 } .cpt { fill: #2f9e6e } .base { fill: #9a8f80 } .fused { fill: #d0743c }
@media (prefers-color-scheme: dark) { text { fill: #c3cad2 } }
</style>"""
WORDS = {"large": "knows the task", "cpt": "knows the language", "base": "the common ground"}


class Look:
    """An `Observer` that keeps the last rows."""

    roles = ROLES

    def __init__(self) -> None:
        self.rows: dict[str, np.ndarray] = {}

    def first(self, n_prompt: int) -> int:
        """See `Observer`."""
        return n_prompt - 1

    def add(self, at: int, rows: object, targets: object) -> None:
        """See `Observer`; never called."""

    def end(self, last: dict[str, np.ndarray]) -> Weights | None:
        """See `Observer`."""
        self.rows = {role: np.array(row) for role, row in last.items()}
        return None


def svg(width: int, height: int, title: str, parts: list[str]) -> str:
    """A document."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", STYLE, *parts, "</svg>\n"])


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """A line of text."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def bar(x: float, y: float, width: float, kind: str) -> str:
    """A bar to the right."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:.1f}" height="13" rx="2" class="{kind}"/>'


def fusion(sentence: str, begun: str) -> str:
    """The rows after `begun`, the beginning of a translation of `sentence`."""
    spec = find_trio("demo")
    codes = language("eng"), language("uig")
    look = Look()
    with Trio(spec, ROLES, Options(n_ctx=512, n_threads=1)) as trio, Decoder(trio) as decoder:
        tokens = trio.tokenize(translation_prompt(sentence, *codes, EXEMPLARS))
        tokens += trio.tokenize(begun)
        for done in decoder.run([Text(tokens, Weights(0, 1), max_tokens=0, observers=(look,))]):
            done.raise_error()
        coefficients = spec.weights.coefficients
        rows = {**look.rows, "fused": fuse(look.rows, coefficients)}
        chances = {name: np.exp(log_softmax(row)) for name, row in rows.items()}
        shown = list(dict.fromkeys(int(t) for c in chances.values() for t in np.argsort(-c)[:2]))
        shown = sorted(shown, key=lambda token: -chances["fused"][token])[:5]
        names = [trio.piece(token).decode("utf-8", "replace").strip() or "⏎" for token in shown]
    parts = [text(16, 24, f"English: {sentence}   Uyghur: {begun} …?", "head")]
    for column, name in enumerate((*ROLES, "fused")):
        x = 16 + 210 * column
        weight = f"× {coefficients[name]:g}" if name in coefficients else "= the fused row"
        parts.append(text(x, 56, f"{name} {weight}", "head"))
        parts.append(text(x, 74, WORDS.get(name, "what is written"), "number"))
        for line, (token, word) in enumerate(zip(shown, names, strict=True)):
            y, chance = 92 + 26 * line, float(chances[name][token])
            parts.append(text(x + 62, y + 11, word, anchor="end"))
            parts.append(bar(x + 68, y, max(1.0, 78 * chance), name))
            parts.append(text(x + 72 + 78 * chance, y + 11, f"{chance:.2f}", "number"))
    title = "The next token by three models, and by their logits fused"
    return svg(856, 104 + 26 * len(shown), title, parts)


def figures(rows: list[dict[str, object]]) -> str:
    """A line a method: chrF++ and bits per byte on all of the development split."""
    parts = [
        text(16, 24, "English to Uyghur, 1,399 strings, five exemplars", "head"),
        text(336, 46, "chrF++: more is better", "number"),
        text(576, 46, "bits per byte: less is better", "number"),
    ]
    for line, row in enumerate(rows):
        y, name = 56 + 22 * line, str(row["method"])
        kind = name if name in ROLES else "fused"
        parts.append(text(16, y + 11, name))
        parts.append(text(176, y + 11, str(row["weights"]), "number"))
        for x, scale, measure, digits in ((336, 5, "chrF++, all", 1), (576, 220, "bits, all", 3)):
            value = float(str(row[measure]))
            if value == value:  # not NaN
                parts.append(bar(x, y, scale * value, kind))
                parts.append(text(x + 6 + scale * value, y + 11, f"{value:.{digits}f}", "number"))
    return svg(856, 66 + 22 * len(rows), "Single models and their fusion", parts)


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("figures", type=Path, help="what evaluate.py --json wrote")
    parser.add_argument("out", type=Path, help="folder")
    parser.add_argument("--sentence", default="Add a New Printer")
    parser.add_argument("--begun", default="يېڭى")
    args = parser.parse_args()
    rows = json.loads(args.figures.read_text(encoding="utf-8"))
    (args.out / "fusion.svg").write_text(fusion(args.sentence, args.begun), encoding="utf-8")
    (args.out / "figures.svg").write_text(figures(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
