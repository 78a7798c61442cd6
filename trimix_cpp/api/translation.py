"""Flags of a command, or arguments of a call, as a task of the room `translate`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..documents import Segment
from ..errors import UsageError
from ..fusion import ByAnswers
from ..prompts import Language, language
from ..runtime import DecodingFlags, Settings
from ..translate import CHECKS, Aids, Checking, Fault, Recipe, known_checks

# Pairs of a memory by whose answers `ppl-answers` chooses: five prompts of five.
_JUDGED = 25


def languages(source: str, target: str) -> tuple[Language, Language]:
    """The two languages with these codes.

    Raises:
        UsageError: an unknown code, or twice the same language.
    """
    pair = language(source), language(target)
    if pair[0].code == pair[1].code:
        raise UsageError(f"--from and --to are both {pair[0].name}")
    return pair


def translation_task(
    flags: DecodingFlags,
    settings: Settings,
    source: Language,
    target: Language,
    *,
    shots: Sequence[tuple[str, str]] = (),
    aids: Aids | None = None,
    retry: bool = True,
    score_shots: bool = False,
    no_check: Iterable[str] = (),
) -> tuple[Settings, Recipe]:
    """What is asked of the models, and `settings` with the weights of the pair of languages.

    Without weights in `flags` the preset translation.SOURCE-TARGET holds if the trio has it. With
    `ppl-answers` and no `shots` the weights are chosen by pairs of the memory.

    Raises:
        UsageError: the weights mean nothing.
    """
    preset = f"translation.{source.code}-{target.code}"
    weighting = flags.weights.preferring(preset, settings.spec).resolve(settings.spec)
    judged = aids.memory.sample(_JUDGED) if aids and aids.memory else ()
    if not isinstance(weighting.chooser, ByAnswers) or shots:
        judged = ()
    elif not judged:
        raise UsageError(
            "--weights ppl-answers looks at the answers of exemplars: give --shots FILE, or "
            "--memory FILE"
        )
    settings = replace(settings, weighting=weighting)
    sampler = settings.sampler
    if flags.sampling.seed in (None, -1) and sampler.temperature == 0:
        sampler = replace(sampler, seed=0)  # only second attempts draw: the same in every run
    return settings, Recipe(
        source,
        target,
        weighting.weights,
        shots=tuple(shots),
        sampler=sampler,
        max_tokens=settings.max_tokens,
        control=settings.control,
        chooser=weighting.chooser,
        plausibility=weighting.plausibility,
        stops=settings.stops,
        retry=retry,
        score_shots=score_shots,
        judged=judged,
        varied=bool(aids and aids.varied),
        # Late checks decide no text: they are not among what a journal goes by.
        unchecked=frozenset(name for name in known_checks(no_check) if not CHECKS[name].late),
        over_bytes=settings.options.bytes is not None,
    )


def check_translation(
    text: str,
    translation: str,
    *,
    source: str | None = None,
    target: str | None = None,
    no_check: Iterable[str] = (),
    max_length: int = 0,
) -> tuple[Fault, ...]:
    """What is wrong with a translation of `text`, as `translate --check` finds it; without models.

    `source` and `target` are codes of languages. `no_check` names checks that are not made; more
    than `max_length` characters are a fault (0: never).

    Raises:
        UsageError: an unknown language or check.
    """
    checking = Checking(
        language(source) if source else None,
        language(target) if target else None,
        known_checks(no_check),
        max_length,
    )
    return checking.faults(Segment(0, text, ""), translation)
