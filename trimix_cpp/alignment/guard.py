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
from ..fusion import ROLES, Ids
from .columns import Alignment
from .compare import Pair, Side, compare, inverse
from .report import VERDICTS, Report
from .spelling import spell
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
    `ROLES` that is there.

    Raises:
        MismatchError: they may not be fused.
        ModelFileError: a file has no vocabulary.
    """
    reference = reference or _reference(models)
    pairs = _compare_all(models, reference)
    report = _report(pairs, reference)
    if not report.fusible:
        raise MismatchError(report)
    ref = pairs[reference].other
    ordered = np.flatnonzero(ref.is_real)
    columns = {role: pair.match[ordered] for role, pair in pairs.items()}
    back = {role: inverse(columns[role], pair.other.n_vocab) for role, pair in pairs.items()}
    names = [ref.texts[token] for token in ordered] if report.lacking else []
    return Alignment(
        reference=reference,
        n_tokens=len(ordered),
        columns={role: _unless_prefix(ids) for role, ids in columns.items()},
        spelled={role: _spelled(models[role], columns[role], names) for role in report.lacking},
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
        reference = _reference(models)
        return _report(_compare_all(models, reference), reference)


def _reference(models: Iterable[str]) -> str:
    roles = tuple(models)
    if not roles:
        raise ValueError("no role to compare")
    return next((role for role in ROLES if role in roles), roles[0])


def _compare_all(models: Mapping[str, Model], reference: str) -> dict[str, Pair]:
    known: dict[int, Vocabulary] = {}  # one file may play two roles
    for model in models.values():
        if id(model) not in known:
            known[id(model)] = Vocabulary(model)
    sides = {role: Side(role, model, known[id(model)]) for role, model in models.items()}
    return {role: compare(sides[reference], side) for role, side in sides.items()}


def _report(pairs: Mapping[str, Pair], reference: str) -> Report:
    roles = tuple(pair.report for pair in pairs.values())
    return Report(max((r.verdict for r in roles), key=VERDICTS.index), reference, roles)


def _unless_prefix(columns: Ids) -> Ids | None:
    return None if np.array_equal(columns, np.arange(len(columns))) else columns


def _spelled(model: Model, columns: Ids, names: list[bytes]) -> dict[int, tuple[int, ...]]:
    """What a role is fed for the tokens that it lacks: their texts, canonical id -> own ids."""
    spelled = {}
    for token in np.flatnonzero(columns < 0).tolist():
        own = spell(model, names[token])
        if not own:
            raise TrimixError(
                f"{model.path}: its tokenizer cannot spell {names[token]!r}, a token that it lacks"
            )
        spelled[token] = own
    return spelled


def _ends(model: Model, back: Ids) -> frozenset[int]:
    return frozenset(int(back[token]) for token in model.end_of_generation()) - {-1}
