"""Translations in exact mode against each other, run by test_engine.py: "equal" where all agree."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from trimix_cpp.decoding.decoder import Decoder
from trimix_cpp.decoding.text import Text
from trimix_cpp.decoding.trio import Options, Trio
from trimix_cpp.documents.segments import Pair, Segment
from trimix_cpp.fusion.choosers import PplChooser
from trimix_cpp.fusion.sampling import Sampler
from trimix_cpp.fusion.weights import Weights
from trimix_cpp.store.spec import RoleSpec, TrioSpec
from trimix_cpp.translate.engine import Translator
from trimix_cpp.translate.memory import Memory
from trimix_cpp.translate.recipe import Hints, Recipe
from trimix_cpp.translate.units import Outcome, Unit

from ..conftest import ROLES
from .test_engine import SHOTS, TASK, TEXTS

MEMORY = {
    "Open the file": "ھۆججەتنى ئېچىڭ", "Open a folder": "قىسقۇچنى ئاچ", "New file": "يېڭى ھۆججەت",
    "Close the file": "ھۆججەتنى تاقا",
    "Select the text": "تېكىستنى تاللا", "Print all": "ھەممىنى باس",
    "Cannot open the window": "كۆزنەكنى ئاچالمىدى", "All windows": "بارلىق كۆزنەكلەر",
}  # fmt: skip
ONE_SHOT = dataclasses.replace(TASK, shots=SHOTS, retry=False, max_tokens=12)
ZERO_SHOT = dataclasses.replace(ONE_SHOT, shots=())
SAMPLED = dataclasses.replace(ONE_SHOT, sampler=Sampler(1.0, seed=5), retry=True)
CHOSEN = dataclasses.replace(ONE_SHOT, chooser=PplChooser, max_tokens=3)


def options(parallel: int, n_ctx: int, n_outputs: int = 1) -> Options:
    return Options(n_ctx=n_ctx, n_parallel=parallel, n_threads=1, n_outputs=n_outputs, exact=True)


def run(spec: TrioSpec, recipe: object, how: Options, texts: list[str]) -> dict[str, Outcome]:
    with Trio(spec, ROLES, how) as trio:
        done = list(Translator(trio, recipe).run(Unit(text) for text in texts))  # type: ignore[arg-type]
        assert len(done) == len(texts)
        return {unit.text: outcome for unit, outcome in done}


def alone(spec: TrioSpec, recipe: Recipe) -> dict[str, str]:
    return prompted(spec, {text: recipe.prompt(text, len(recipe.shots)) for text in TEXTS})


def by_shots(unit: Unit) -> object:
    return unit.hints.shots


def prompted(spec: TrioSpec, prompts: dict[str, str]) -> dict[str, str]:
    """The reference: one prompt after the other, each whole."""
    texts = {}
    with Trio(spec, ROLES, options(1, 320)) as trio:
        for text, whole in prompts.items():
            decoder = Decoder(trio, keep=False)
            prompt = trio.tokenize(whole)
            one = Text(prompt, Weights(0.9, 0.3), max_tokens=12, stops=("\n",))
            texts[text] = "".join(decoder.stream(one)).strip()
    return texts


def main() -> None:
    case, *files = sys.argv[1:]
    spec = TrioSpec("exact", {r: RoleSpec(Path(f)) for r, f in zip(ROLES, files, strict=True)})
    if case == "alone":  # with the shared beginning, and each prompt whole
        pairs = [
            ({text: o.text for text, o in run(spec, recipe, options(4, 256), TEXTS).items()},
             alone(spec, recipe))
            for recipe in (ZERO_SHOT, ONE_SHOT)
        ]  # fmt: skip
    elif case == "memory":  # exemplars of each text's own, in an order that shares some, or none
        memory = Memory()
        memory.add(Pair(Segment(0, text, "m"), answer) for text, answer in MEMORY.items())
        units = [Unit(text, hints=Hints(memory.similar(text))) for text in TEXTS]
        assert len({unit.hints for unit in units}) > 3
        recipe = dataclasses.replace(ONE_SHOT, varied=True)
        whole = {
            u.text: recipe.prompt(u.text, len(recipe.exemplars(u.hints)), u.hints) for u in units
        }
        found = []
        for parallel, order in ((1, units), (3, units[::-1]), (5, sorted(units, key=by_shots))):
            with Trio(spec, ROLES, options(parallel, 320)) as trio:
                found.append({u.text: o.text for u, o in Translator(trio, recipe).run(order)})
        pairs = [(one, prompted(spec, whole)) for one in found]
    elif case == "together":  # places, contexts, the order of the file
        ways = [(options(2, 256), TEXTS), (options(5, 512), TEXTS[::-1]), (options(7, 320), TEXTS)]
        one, *others = [run(spec, SAMPLED, how, texts) for how, texts in ways]
        pairs = [(one, other) for other in others]
    else:  # weights chosen in prefills of other chunks
        ways = [(options(2, 256, 64), TEXTS), (options(6, 256, 11), TEXTS[::-1])]
        one, other = [run(spec, CHOSEN, how, texts) for how, texts in ways]
        pairs = [(one, other)]
    print("equal" if all(left == right for left, right in pairs) else f"different: {pairs}")


if __name__ == "__main__":
    main()
