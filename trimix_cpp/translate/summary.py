"""What a translation came to: counts, what to look at, and how it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..documents import Result
from ..fusion import Weights
from ..showing import count
from .recipe import Recipe
from .units import Layout, Outcome, Unit, reasons_of

_SHOWN = 8
_EXCERPT = 60


@dataclass(frozen=True)
class Row:
    """What became of a segment.

    Attributes:
        where: file and line.
        reasons: why somebody should look at it.
        source, translation: None where there is none.
        used: the translation stands in the file; a faulty one may be kept out of it.
    """

    where: str
    reasons: tuple[str, ...]
    source: str
    translation: str | None
    used: bool = True

    @property
    def flagged(self) -> bool:
        """Somebody should look at it."""
        return bool(self.reasons) or self.translation is None


@dataclass(frozen=True)
class Summary:
    """Counts of segments; `tokens` and `retries` of all generations, those of a journal included.

    Attributes:
        segments: in the file, as far as they were to be translated.
        translated: with at least one generated part.
        remembered: taken over from a memory.
        passed_through: where nothing had to be generated: numbers, addresses and the like.
        untranslated: left as they were, because no part could be translated, or the translation
            was faulty and kept out.
        rows: the segments, in the order of the file.
        generations: different texts that were sent to the models.
        resumed: how many of them were in the journal already.
        retries: second attempts.
        dropped_shots: prompts from which exemplars were left out for want of room.
        tokens: generated.
        seconds: of this run.
        weights: with a chooser their mean. None where nothing was generated.
    """

    segments: int
    translated: int
    remembered: int
    passed_through: int
    untranslated: int
    rows: tuple[Row, ...]
    generations: int
    resumed: int
    retries: int
    dropped_shots: int
    tokens: int
    seconds: float
    weights: Weights | None

    @property
    def flagged(self) -> tuple[Row, ...]:
        """The segments to be looked at, the untranslated ones among them."""
        return tuple(row for row in self.rows if row.flagged)

    def document(self, whole: bool = False) -> dict[str, Any]:
        """The JSON document; with `whole` it holds all segments, not only those to be looked at."""
        out: dict[str, Any] = {}
        for field in fields(self):
            if field.name == "rows":
                out["flagged"] = [asdict(row) for row in self.flagged]
            else:
                out[field.name] = getattr(self, field.name)
        out["seconds"] = round(self.seconds, 3)
        out["weights"] = self.weights and self.weights.as_json()
        return {**out, "all": [asdict(row) for row in self.rows]} if whole else out

    def lines(self) -> list[str]:
        """The summary in words, then the first of the segments to look at."""
        parts = [
            f"{count(self.segments, 'segment')}: {self.translated} translated",
            f"{self.remembered} from the memory" if self.remembered else "",
            f"{self.passed_through} passed through",
            f"{self.untranslated} left as they were" if self.untranslated else "",
            f"{len(self.flagged)} to look at",
            f"{self.retries} tried twice" if self.retries else "",
        ]
        speed = f"{count(self.tokens, 'token')}, {self.seconds:.1f} s"
        if self.resumed:
            speed += f"; {self.resumed:,} of {count(self.generations, 'text')} were in the journal"
        lines = [", ".join(filter(None, parts)) + f" ({speed})"]
        if self.dropped_shots:
            lines.append(
                f"exemplars were left out of {count(self.dropped_shots, 'prompt')}: too long for -c"
            )
        return lines + self.warnings()

    def warnings(self) -> list[str]:
        """The first of the segments to look at, a line each."""
        lines = [
            f"{item.where}: {', '.join(item.reasons)}: {_excerpt(item.source)}"
            for item in self.flagged[:_SHOWN]
        ]
        if len(self.flagged) > _SHOWN:
            lines.append(f"… and {len(self.flagged) - _SHOWN} more (--report FILE lists all)")
        return lines


def summarize(
    layouts: Sequence[Layout],
    results: Mapping[int, Result],
    outcomes: Mapping[Unit, Outcome],
    placed: Mapping[int, Result],
    *,
    resumed: int,
    recipe: Recipe,
    seconds: float,
) -> Summary:
    """Sum up; `results` by key of their segments, `outcomes` of all units, `placed` in the file."""
    rows, translated, untranslated, remembered = [], 0, 0, 0
    for layout in layouts:
        segment = layout.segment
        result, taken = results.get(segment.key), placed.get(segment.key)
        if result is None:
            reasons = reasons_of(outcomes[unit] for unit in layout.asked)
            rows.append(Row(segment.where, reasons, segment.text, None, False))
            untranslated += 1
            continue
        used = taken is not None and taken.text == result.text
        rows.append(Row(segment.where, result.reasons, segment.text, result.text, used))
        translated += used and bool(layout.asked)
        remembered += used and result.remembered
        untranslated += not used
    return Summary(
        segments=len(layouts),
        translated=translated,
        remembered=remembered,
        passed_through=len(layouts) - translated - untranslated - remembered,
        untranslated=untranslated,
        rows=tuple(rows),
        generations=len(outcomes),
        resumed=resumed,
        retries=sum(outcome.retried for outcome in outcomes.values()),
        dropped_shots=sum(
            outcome.shots < len(recipe.exemplars(unit.hints))
            for unit, outcome in outcomes.items()
            if outcome.text is not None
        ),
        tokens=sum(outcome.tokens for outcome in outcomes.values()),
        seconds=seconds,
        weights=_mean([outcome.weights for outcome in outcomes.values() if outcome.weights]),
    )


def total(summaries: Sequence[Summary], generations: int, seconds: float) -> Summary:
    """Several files' summaries as one; `generations` are the different texts of all of them."""

    def added(name: str) -> int:
        return sum(getattr(summary, name) for summary in summaries)

    return Summary(
        segments=added("segments"),
        translated=added("translated"),
        remembered=added("remembered"),
        passed_through=added("passed_through"),
        untranslated=added("untranslated"),
        rows=tuple(row for summary in summaries for row in summary.rows),
        generations=generations,
        resumed=min(added("resumed"), generations),
        retries=added("retries"),
        dropped_shots=added("dropped_shots"),
        tokens=added("tokens"),
        seconds=seconds,
        weights=_mean([summary.weights for summary in summaries if summary.weights]),
    )


def _mean(weights: Sequence[Weights]) -> Weights | None:
    if len(set(weights)) <= 1:
        return weights[0] if weights else None
    columns = zip(*(own.numbers for own in weights), strict=True)
    return Weights.of([round(sum(column) / len(weights), 6) for column in columns])


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"
