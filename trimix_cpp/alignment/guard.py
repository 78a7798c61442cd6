"""The guard: may these models be fused, and which column of each is which token?

Two models may be fused where every id that one of them is fed or scores has a counterpart with
the same meaning in the other, and where text becomes the same tokens in both. Special tokens, which
no text becomes, may be missing. What differs is found by `compare`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import AlignmentError, TrimixError
from ..fusion import DRAFT, ROLES, Ids
from .columns import Alignment
from .compare import Pair, Side, compare, inverse
from .enlarged import Enlarged, strings_of
from .report import VERDICTS, Report
from .spelling import Speller
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from ..llama import Model


class MismatchError(AlignmentError):
    """The models may not be fused; `report` tells why."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"{report.summary()}; {report.advice()}")
        self.report = report

    def __reduce__(self) -> tuple[type[MismatchError], tuple[Report]]:
        return type(self), (self.report,)


def align(models: Mapping[str, Model], *, reference: str | None = None) -> Alignment:
    """Compare the vocabularies of all `models` (role -> model) and align them.

    `reference` names the role whose order of tokens is the canonical one; by default the first of
    `ROLES` that is there, but for `large` the first whose tokens of text all others have.

    Raises:
        MismatchError: they may not be fused.
        ModelFileError: a file has no vocabulary.
    """
    reference, pairs = _compare_all(models, reference)
    report = _report(pairs, reference)
    if not report.fusible:
        raise MismatchError(report)
    ref = pairs[reference].other
    ordered = np.flatnonzero(ref.is_real)
    columns = {role: pair.match[ordered] for role, pair in pairs.items()}
    back = {role: inverse(columns[role], pair.other.n_vocab) for role, pair in pairs.items()}
    spelled = {}
    if report.lacking:
        names = [ref.texts[token] for token in ordered]
        spelled = {role: _spelled(models[role], columns[role], names) for role in report.lacking}
    enlarged = {}
    if report.enlarged:
        reader = Speller(models[reference])
        special = ref.is_special
        letters = [b"" if special[token] else ref.bytes_of(token) for token in ordered.tolist()]
        for role in report.enlarged:
            strings = strings_of(pairs[role].other, columns[role], reader, ref, back[reference])
            enlarged[role] = Enlarged(
                Speller(models[role]), strings, letters, spelled.get(role, {})
            )
    return Alignment(
        reference=reference,
        n_tokens=len(ordered),
        columns={role: _unless_prefix(ids) for role, ids in columns.items()},
        spelled=spelled,
        enlarged=enlarged,
        report=report,
        _inverse=back,
        _ends={role: _ends(model, back[role]) for role, model in models.items()},
        _is_control=ref.is_control[ordered],
    )


def report_for(paths: Mapping[str, str | Path]) -> Report:
    """Compare the vocabularies of the files in `paths` (role -> file) without their weights.

    Raises:
        ModelFileError: a file is missing, broken, or has no vocabulary.
    """
    from ..llama import Model

    with ExitStack() as stack:
        loaded = {
            path: stack.enter_context(Model(path, vocab_only=True))
            for path in dict.fromkeys(map(Path, paths.values()))
        }
        models = {role: loaded[Path(path)] for role, path in paths.items()}
        reference, pairs = _compare_all(models)
        return _report(pairs, reference)


def _references(models: Iterable[str]) -> list[str]:
    """The roles that may be the reference, the best first; no other where there is a `large`."""
    ordered = sorted(models, key=lambda role: (*ROLES, DRAFT).index(role))
    if not ordered:
        raise ValueError("no role to compare")
    return ordered[:1] if ordered[0] == "large" else [r for r in ordered if r != DRAFT] or ordered


def _compare_all(
    models: Mapping[str, Model], reference: str | None = None
) -> tuple[str, dict[str, Pair]]:
    """The reference, and every role against it."""
    known: dict[int, Vocabulary] = {}  # one file may play two roles
    for model in models.values():
        if id(model) not in known:
            known[id(model)] = Vocabulary(model)
    sides = {role: Side(role, model, known[id(model)]) for role, model in models.items()}
    found = []
    for one in [reference] if reference else _references(models):
        found.append((one, {role: compare(sides[one], side) for role, side in sides.items()}))
        if _report(found[-1][1], one).fusible:
            return found[-1]
    return found[0]


def _report(pairs: Mapping[str, Pair], reference: str) -> Report:
    roles = tuple(pair.report for pair in pairs.values())
    return Report(max((r.verdict for r in roles), key=VERDICTS.index), reference, roles)


def _unless_prefix(columns: Ids) -> Ids | None:
    return None if np.array_equal(columns, np.arange(len(columns))) else columns


def _spelled(model: Model, columns: Ids, names: list[bytes]) -> dict[int, tuple[int, ...]]:
    """What a role is fed for the tokens that it lacks: their texts, canonical id -> own ids."""
    spelled, speller = {}, Speller(model)
    for token in np.flatnonzero(columns < 0).tolist():
        own = speller.spell(names[token])
        if not own:
            raise TrimixError(
                f"{model.path}: its tokenizer cannot spell {names[token]!r}, a token that it lacks"
            )
        spelled[token] = own
    return spelled


def _ends(model: Model, back: Ids) -> frozenset[int]:
    return frozenset(int(back[token]) for token in model.end_of_generation()) - {-1}
