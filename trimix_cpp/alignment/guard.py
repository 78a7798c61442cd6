"""The guard: may these models be fused, and which column of each is which token?

Two models may be fused where every id that one of them is fed or scores has a counterpart with
the same meaning in the other, and where text becomes the same tokens in both. That is checked on
what the files say (tokens, merges, scores, settings) and on what llama.cpp makes of real texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AlignmentError, TrimixError
from ..fusion import DRAFT, ROLES, Ids, Mask, Rows
from ..showing import count
from . import probes
from .report import (
    DIFFERENT,
    EXPANDED,
    IDENTICAL,
    PADDED,
    PERMUTED,
    SHOWN,
    VERDICTS,
    ProbeDiff,
    Report,
    RoleReport,
    SettingDiff,
    TokenDiff,
    TokenOf,
)
from .vocabulary import NORMAL, Vocabulary, readable

if TYPE_CHECKING:
    from ..llama import Model

# Most names of special tokens that are probed (Llama 3 and Gemma reserve hundreds), and most tokens
# that are special in one file and ordinary in another.
MAX_NAMES = 96
MAX_RETYPED = 1000


class MismatchError(AlignmentError):
    """The models may not be fused; `report` tells why."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"{report.summary()}; {report.advice()}")
        self.report = report

    def __reduce__(self) -> tuple[type[MismatchError], tuple[Report]]:
        return type(self), (self.report,)


@dataclass(frozen=True)
class Alignment:
    """Models that may be fused, and how their ids correspond.

    Canonical ids 0 .. n_tokens - 1 are the tokens of the reference role in order of its own ids,
    padding left out.

    Attributes:
        reference: the role whose order is the canonical one.
        n_tokens: tokens that all roles share.
        columns: for each role the role's id of every canonical id, int32 [n_tokens]; None where
            that is 0 .. n_tokens - 1.
        report: the whole comparison.
    """

    reference: str
    n_tokens: int
    columns: Mapping[str, Ids | None]
    report: Report
    _inverse: Mapping[str, Ids] = field(repr=False)
    _ends: Mapping[str, frozenset[int]] = field(repr=False)
    _is_control: Mask = field(repr=False)
    _known: dict[tuple[str, ...], tuple[frozenset[int], Mask]] = field(
        default_factory=dict, repr=False
    )

    def ends(self, roles: tuple[str, ...] | None = None) -> frozenset[int]:
        """Canonical ids that end a generation in one of `roles`, of all but a drafting model."""
        return self._of(self._fused if roles is None else roles)[0]

    def control(self, roles: tuple[str, ...] | None = None) -> Mask:
        """Which canonical ids are control tokens or end a generation so, bool [n_tokens]."""
        return self._of(self._fused if roles is None else roles)[1]

    @property
    def _fused(self) -> tuple[str, ...]:
        return tuple(role for role in self.columns if role != DRAFT)

    def _of(self, roles: tuple[str, ...]) -> tuple[frozenset[int], Mask]:
        found = self._known.get(roles)
        if found is None:  # asked at every token
            ends = frozenset[int]().union(*(self._ends[role] for role in roles))
            control = self._is_control.copy()
            control[sorted(ends)] = True
            found = self._known[roles] = ends, control
        return found

    def rows(self, role: str, logits: Rows) -> Rows:
        """Rows [n, n_tokens] of a role's own logits [n, n_vocab]; a view where that can be."""
        columns = self.columns[role]
        return logits[:, : self.n_tokens] if columns is None else logits[:, columns]

    def to_role(self, role: str, ids: Ids) -> Ids:
        """The role's own ids of canonical `ids`, int32 of the same shape."""
        own = ids.astype(np.int32)
        # As unsigned numbers negative ones are large: one look instead of two, at every step.
        if len(own) and own.view(np.uint32).max() >= self.n_tokens:
            raise ValueError(f"a token is not among the {self.n_tokens} shared ones")
        columns = self.columns[role]
        return own if columns is None else columns[own]

    def id_in_role(self, role: str, token: int) -> int:
        """The role's own id of one canonical id."""
        if not 0 <= token < self.n_tokens:
            raise ValueError(f"a token is not among the {self.n_tokens} shared ones")
        columns = self.columns[role]
        return token if columns is None else int(columns[token])

    def from_role(self, role: str, ids: Ids) -> Ids:
        """The canonical ids of a role's own `ids`, int32 of the same shape.

        Raises:
            TrimixError: one of them is padding, so it means nothing to the other models.
            ValueError: one of them is not in the role's vocabulary.
        """
        inverse = self._inverse[role]
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(inverse):
            raise ValueError(f"a token is not in the vocabulary of {role}")
        canonical = inverse[ids]
        if len(ids) and canonical.min() < 0:
            token = int(ids[int(np.argmin(canonical))])
            raise TrimixError(
                f"the text holds the name of token {token}, which is padding in {role}'s "
                "vocabulary and means nothing; take it out of the text"
            )
        return canonical


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
    ordered = np.flatnonzero(pairs[reference].other.is_real)
    columns = {role: pair.match[ordered] for role, pair in pairs.items()}
    inverse = {role: _inverse(columns[role], pair.other.n_vocab) for role, pair in pairs.items()}
    return Alignment(
        reference=reference,
        n_tokens=len(ordered),
        columns={role: _unless_prefix(ids) for role, ids in columns.items()},
        report=report,
        _inverse=inverse,
        _ends={role: _ends(model, inverse[role]) for role, model in models.items()},
        _is_control=pairs[reference].other.is_control[ordered],
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


@dataclass(frozen=True)
class _Pair:
    """The reference and another role: `match` is the other's id of each reference id, or -1."""

    other: Vocabulary
    match: Ids
    report: RoleReport


def _compare_all(models: Mapping[str, Model], reference: str) -> dict[str, _Pair]:
    known: dict[int, Vocabulary] = {}  # one file may play two roles
    for model in models.values():
        if id(model) not in known:
            known[id(model)] = Vocabulary(model)
    return {
        role: _compare(
            role, models[reference], model, known[id(models[reference])], known[id(model)]
        )
        for role, model in models.items()
    }


def _report(pairs: Mapping[str, _Pair], reference: str) -> Report:
    roles = tuple(pair.report for pair in pairs.values())
    return Report(max((r.verdict for r in roles), key=VERDICTS.index), reference, roles)


def _compare(
    role: str,
    ref_model: Model,
    model: Model,
    ref: Vocabulary,
    other: Vocabulary,
) -> _Pair:
    """Compare one role with the reference."""
    match = _match(ref, other)
    if ref is other:
        found = RoleReport(role, other.name, IDENTICAL, other.n_vocab, other.n_real, other.n_real)
        return _Pair(other, match, found)
    inverse = _inverse(match, other.n_vocab)
    only_ref = np.flatnonzero(ref.is_real & (match < 0))
    only_role = np.flatnonzero(other.is_real & (inverse < 0))
    same_tokens = not len(only_ref) and not len(only_role)
    settings = _setting_diffs(ref, other, match)
    texts = _probe_texts(ref, other, match) if same_tokens else []
    differ = _probe_diffs(texts, (ref_model, ref), (model, other), match, inverse)
    verdict = _verdict(ref, other, match, (len(only_ref), len(only_role)))
    if same_tokens and (settings or differ):
        verdict = DIFFERENT
    report = RoleReport(
        role=role,
        file=other.name,
        verdict=verdict,
        n_vocab=other.n_vocab,
        n_tokens=other.n_real,
        n_shared=int(np.count_nonzero(match >= 0)),
        n_only_role=len(only_role),
        n_only_reference=len(only_ref),
        only_role=tuple(TokenOf(t, other.describe(t)) for t in only_role[:SHOWN].tolist()),
        only_reference=tuple(TokenOf(t, ref.describe(t)) for t in only_ref[:SHOWN].tolist()),
        differing_ids=_id_diffs(ref, other, match),
        settings=settings,
        n_probes=len(texts),
        n_probes_differ=len(differ),
        probes=tuple(differ[:SHOWN]),
    )
    return _Pair(other, match, report)


def _match(ref: Vocabulary, other: Vocabulary) -> Ids:
    """The other's id of each reference id, -1 for padding and for none; int32 [ref.n_vocab]."""
    own = np.arange(ref.n_vocab, dtype=np.int32)
    if ref is other or _same_prefix(ref, other):
        return np.where(ref.is_real, own, np.int32(-1))
    ids = {key: token for token, key in enumerate(other.keys) if key}
    return np.fromiter((ids.get(key, -1) if key else -1 for key in ref.keys), np.int32)


def _same_prefix(ref: Vocabulary, other: Vocabulary) -> bool:
    """Whether both have the same texts and types up to their last tokens (the usual case)."""
    if ref.n_real != other.n_real or ref.model != other.model or not ref.n_real:
        return False
    end = int(np.flatnonzero(ref.is_real)[-1]) + 1
    if end > other.n_vocab or not np.array_equal(ref.types[:end], other.types[:end]):
        return False
    if ref.tokens.raw == other.tokens.raw:
        return True
    return ref.texts[:end] == other.texts[:end]


def _inverse(columns: Ids, n_vocab: int) -> Ids:
    """Turn id -> column into column -> id: int32 [n_vocab], -1 where nothing leads there."""
    inverse = np.full(n_vocab, -1, np.int32)
    known = columns >= 0
    inverse[columns[known]] = np.flatnonzero(known)
    return inverse


def _unless_prefix(columns: Ids) -> Ids | None:
    return None if np.array_equal(columns, np.arange(len(columns))) else columns


def _verdict(ref: Vocabulary, other: Vocabulary, match: Ids, only: tuple[int, int]) -> str:
    if all(only):
        return DIFFERENT
    if any(only):
        return EXPANDED
    real = np.flatnonzero(ref.is_real)
    if not np.array_equal(match[real], real):
        return PERMUTED
    return IDENTICAL if ref.n_vocab == other.n_vocab else PADDED


def _id_diffs(ref: Vocabulary, other: Vocabulary, match: Ids) -> tuple[TokenDiff, ...]:
    """The first ids at which both have a token, and not the same one."""
    n = min(ref.n_vocab, other.n_vocab)
    both = ref.is_real[:n] & other.is_real[:n]
    differ = np.flatnonzero(both & (match[:n] != np.arange(n)))[:SHOWN].tolist()
    return tuple(TokenDiff(token, ref.describe(token), other.describe(token)) for token in differ)


def _setting_diffs(ref: Vocabulary, other: Vocabulary, match: Ids) -> tuple[SettingDiff, ...]:
    names = dict.fromkeys((*ref.settings, *other.settings))
    values = [(n, ref.settings.get(n, "none"), other.settings.get(n, "none")) for n in names]
    diffs = [SettingDiff(*value) for value in values if value[1] != value[2]]
    return (*diffs, *_merge_diffs(ref, other), *_score_diffs(ref, other, match))


def _merge_diffs(ref: Vocabulary, other: Vocabulary) -> list[SettingDiff]:
    first, second = ref.merges, other.merges
    if first is None or second is None or first.raw == second.raw:
        return []
    merges = zip_longest(first.strings(), second.strings())
    rank, pair = next((i, pair) for i, pair in enumerate(merges) if pair[0] != pair[1])
    shown = ["none" if merge is None else readable(merge) for merge in pair]
    return [
        SettingDiff(
            "merges",
            f"{first.count:,}, number {rank} is {shown[0]}",
            f"{second.count:,}, number {rank} is {shown[1]}",
        )
    ]


def _score_diffs(ref: Vocabulary, other: Vocabulary, match: Ids) -> list[SettingDiff]:
    """Scores of ordinary pieces; those of other tokens do not steer the merging."""
    if ref.scores is None or other.scores is None:
        return []
    paired = np.flatnonzero((match >= 0) & (ref.types == NORMAL))
    paired = paired[other.types[match[paired]] == NORMAL]
    differ = paired[ref.scores[paired] != other.scores[match[paired]]]
    if not len(differ):
        return []
    token = int(differ[0])
    return [
        SettingDiff(
            f"scores of {count(len(differ), 'token')}, first {ref.describe(token)}",
            f"{ref.scores[token]:g}",
            f"{other.scores[match[token]]:g}",
        )
    ]


def _probe_texts(ref: Vocabulary, other: Vocabulary, match: Ids) -> list[str]:
    """The corpus, names of special tokens, and tokens that the two files type differently."""
    paired = np.flatnonzero(match >= 0)
    retyped = paired[ref.types[paired] != other.types[match[paired]]].tolist()
    names = ref.control_texts()
    if len(names) > MAX_NAMES:
        names = names[: MAX_NAMES // 2] + names[-MAX_NAMES // 2 :]
    names += [ref.texts[token].decode("utf-8", "ignore") for token in retyped[:MAX_RETYPED]]
    return [*probes.TEXTS, *map(probes.naming, dict.fromkeys(names))]


def _probe_diffs(
    texts: Sequence[str],
    ref: tuple[Model, Vocabulary],
    other: tuple[Model, Vocabulary],
    match: Ids,
    inverse: Ids,
) -> list[ProbeDiff]:
    """The texts that the two tokenize differently, each with its first difference.

    Every text is tokenized with and without specials; ids are compared as the reference's.
    """
    modes = ((False, False), (False, True), (True, False), (True, True))
    diffs = []
    for text in texts:
        for add, parse in modes:
            own = np.asarray(ref[0].tokenize(text, add_special=add, parse_special=parse), np.int32)
            ids = np.asarray(
                other[0].tokenize(text, add_special=add, parse_special=parse), np.int32
            )
            # Padding is -1 on both sides: it means nothing in either.
            at = _first_difference(np.where(match[own] >= 0, own, -1), inverse[ids])
            if at >= 0:
                shown = (_token_at(ref[1], own, at), _token_at(other[1], ids, at))
                diffs.append(ProbeDiff(text, add, parse, at, *shown))
                break
    return diffs


def _first_difference(first: NDArray[Any], second: NDArray[Any]) -> int:
    """The first place at which two arrays differ, -1 for none."""
    n = min(len(first), len(second))
    unequal = np.flatnonzero(first[:n] != second[:n])
    if len(unequal):
        return int(unequal[0])
    return -1 if len(first) == len(second) else n


def _token_at(vocabulary: Vocabulary, ids: Ids, place: int) -> str:
    return vocabulary.describe(int(ids[place])) if place < len(ids) else "the end"


def _ends(model: Model, inverse: Ids) -> frozenset[int]:
    return frozenset(int(inverse[token]) for token in model.end_of_generation()) - {-1}
