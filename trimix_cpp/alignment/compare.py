"""Two vocabularies side by side: which token of one is which of the other, and what differs.

What the files say is compared (tokens, merges, scores, settings), and what llama.cpp makes of real
texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..fusion import Ids, Mask
from ..showing import count
from . import probes
from .enlarged import SPELT
from .report import (
    DIFFERENT,
    EXPANDED,
    IDENTICAL,
    PADDED,
    PERMUTED,
    SHOWN,
    SPECIALS,
    ProbeDiff,
    RoleReport,
    SettingDiff,
    TokenDiff,
    TokenOf,
)
from .vocabulary import NORMAL, USER_DEFINED, Vocabulary, readable

if TYPE_CHECKING:
    from ..llama import Model

# Most names of special tokens that are probed (Llama 3 and Gemma reserve hundreds), and most tokens
# that are special in one file and ordinary in another.
MAX_NAMES = 96
MAX_RETYPED = 1000


@dataclass(frozen=True)
class Side:
    """One role's model and what its file says of the vocabulary."""

    role: str
    model: Model
    vocabulary: Vocabulary


@dataclass(frozen=True)
class Pair:
    """The reference and another role: `match` is the other's id of each reference id, or -1."""

    other: Vocabulary
    match: Ids
    report: RoleReport


def inverse(columns: Ids, n_vocab: int) -> Ids:
    """Turn id -> column into column -> id: int32 [n_vocab], -1 where nothing leads there."""
    back = np.full(n_vocab, -1, np.int32)
    known = columns >= 0
    back[columns[known]] = np.flatnonzero(known)
    return back


def compare(reference: Side, side: Side) -> Pair:
    """Compare one role with the reference."""
    ref, other = reference.vocabulary, side.vocabulary
    match = _match(ref, other)
    if ref is other:
        found = RoleReport(
            side.role, other.name, IDENTICAL, other.n_vocab, other.n_real, other.n_real
        )
        return Pair(other, match, found)
    back = inverse(match, other.n_vocab)
    only_ref, only_role = ref.is_real & (match < 0), other.is_real & (back < 0)
    flagged = _flagged(ref, other, match)
    # Text becomes the same tokens in both, or it may: what only special tokens tell apart.
    same_text = not (only_ref & ~ref.is_special).any() and not (only_role & ~other.is_special).any()
    settings = _setting_diffs(ref, other, match)
    apart = [*(ref.texts[t] for t in np.flatnonzero(only_ref)), *(ref.texts[t] for t in flagged)]
    apart += [other.texts[t] for t in np.flatnonzero(only_role)]
    texts = _probe_texts(ref, other, match, apart) if same_text else []
    differ = _probe_diffs(texts, reference, side, match, back)
    verdict = _verdict(ref, other, match, only_ref, only_role)
    if same_text and (settings or differ):
        verdict = DIFFERENT
    own_only, ref_only = np.flatnonzero(only_role), np.flatnonzero(only_ref)
    report = RoleReport(
        role=side.role,
        file=other.name,
        verdict=verdict,
        n_vocab=other.n_vocab,
        n_tokens=other.n_real,
        n_shared=int(np.count_nonzero(match >= 0)),
        n_only_role=len(own_only),
        n_only_reference=len(ref_only),
        only_role=tuple(TokenOf(t, other.describe(t)) for t in own_only[:SHOWN].tolist()),
        only_reference=tuple(TokenOf(t, ref.describe(t)) for t in ref_only[:SHOWN].tolist()),
        differing_ids=_id_diffs(ref, other, match),
        lacks_text=verdict == EXPANDED and bool((only_ref & ~ref.is_special).any()),
        n_flags=len(flagged),
        flags=tuple(
            TokenDiff(t, ref.describe(t), other.describe(int(match[t]))) for t in flagged[:SHOWN]
        ),
        settings=settings,
        n_probes=len(texts),
        n_probes_differ=len(differ),
        probes=tuple(differ[:SHOWN]),
    )
    return Pair(other, match, report)


def _match(ref: Vocabulary, other: Vocabulary) -> Ids:
    """The other's id of each reference id, -1 for padding and for none; int32 [ref.n_vocab]."""
    own = np.arange(ref.n_vocab, dtype=np.int32)
    if ref is other or _same_prefix(ref, other):
        return np.where(ref.is_real, own, np.int32(-1))
    ids = {key: token for token, key in enumerate(other.keys) if key}
    match = np.fromiter((ids.get(key, -1) if key else -1 for key in ref.keys), np.int32)
    _match_flagged(ref, other, match)
    return match


def _match_flagged(ref: Vocabulary, other: Vocabulary, match: Ids) -> None:
    """Pair, in place, special tokens of one text that the two files flag differently."""
    back = inverse(match, other.n_vocab)
    left = np.flatnonzero(other.is_real & other.is_special & (back < 0)).tolist()
    by_text = {other.texts[token]: token for token in reversed(left)}
    for token in np.flatnonzero(ref.is_real & ref.is_special & (match < 0)).tolist():
        match[token] = by_text.pop(ref.texts[token], -1)


def _flagged(ref: Vocabulary, other: Vocabulary, match: Ids) -> list[int]:
    """Ids of the reference's special tokens that the other has with another flag."""
    paired = np.flatnonzero((match >= 0) & ref.is_special)
    own, theirs = ref.types[paired], other.types[match[paired]]
    both = other.is_special[match[paired]] & ((own == USER_DEFINED) != (theirs == USER_DEFINED))
    flagged: list[int] = paired[both].tolist()
    return flagged


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


def _verdict(
    ref: Vocabulary, other: Vocabulary, match: Ids, only_ref: Mask, only_role: Mask
) -> str:
    texts = (only_ref & ~ref.is_special).any(), (only_role & ~other.is_special).any()
    if any(texts):
        spelt = {ref.model, other.model} <= set(SPELT) and ref.model == other.model
        return EXPANDED if spelt and not all(texts) else DIFFERENT
    if only_ref.any() or only_role.any():
        return SPECIALS
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


def _probe_texts(
    ref: Vocabulary, other: Vocabulary, match: Ids, apart: Sequence[bytes]
) -> list[str]:
    """The corpus, names of special tokens, and tokens that the two files type differently.

    What holds one of the names `apart` is left out: there the two are known to differ.
    """
    paired = np.flatnonzero(match >= 0)
    retyped = paired[ref.types[paired] != other.types[match[paired]]].tolist()
    names = ref.control_texts()
    if len(names) > MAX_NAMES:
        names = names[: MAX_NAMES // 2] + names[-MAX_NAMES // 2 :]
    names += [ref.texts[token].decode("utf-8", "ignore") for token in retyped[:MAX_RETYPED]]
    texts = [*probes.TEXTS, *map(probes.naming, dict.fromkeys(names))]
    known = {name.decode("utf-8", "ignore") for name in apart} - {""}
    return [text for text in texts if not any(name in text for name in known)]


def _probe_diffs(
    texts: Sequence[str], ref: Side, other: Side, match: Ids, back: Ids
) -> list[ProbeDiff]:
    """The texts that the two tokenize differently, each with its first difference.

    Every text is tokenized with and without specials; ids are compared as the reference's.
    """
    modes = ((False, False), (False, True), (True, False), (True, True))
    diffs = []
    for text in texts:
        for add, parse in modes:
            own, ids = (
                np.asarray(
                    side.model.tokenize(text, add_special=add, parse_special=parse), np.int32
                )
                for side in (ref, other)
            )
            # Padding is -1 on both sides: it means nothing in either.
            at = _first_difference(np.where(match[own] >= 0, own, -1), back[ids])
            if at >= 0:
                shown = _token_at(ref.vocabulary, own, at), _token_at(other.vocabulary, ids, at)
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
