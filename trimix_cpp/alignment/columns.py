"""Which column of whose logits is which token, once the models may be fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..errors import TrimixError
from ..fusion import DRAFT, Ids, Mask, Rows
from .enlarged import Enlarged
from .report import Report


class Of(NamedTuple):
    """What holds where some roles are fused.

    Attributes:
        ends: canonical ids that end a generation in one of them.
        control: which are control tokens or end a generation so, bool [n_tokens].
        lacked: those that one of them lacks, in order.
        special: `control`, and the lacked ones, as far as `large` has them, bool [n_tokens].
    """

    ends: frozenset[int]
    control: Mask
    lacked: Ids
    special: Mask


@dataclass(frozen=True)
class Alignment:
    """Models that may be fused, and how their ids correspond.

    Canonical ids 0 .. n_tokens - 1 are the tokens of the reference role in order of its own ids,
    padding left out. A role may lack special ones; it is fed their texts.

    Attributes:
        reference: the role whose order is the canonical one.
        n_tokens: tokens of the alphabet.
        columns: for each role the role's id of every canonical id, int32 [n_tokens], -1 where it
            lacks the token; None where that is 0 .. n_tokens - 1.
        spelled: for each role that lacks tokens what it is fed instead: canonical id -> own ids.
        enlarged: for each role with more tokens of text than the alphabet how it reads and speaks.
        report: the whole comparison.
    """

    reference: str
    n_tokens: int
    columns: Mapping[str, Ids | None]
    spelled: Mapping[str, Mapping[int, tuple[int, ...]]]
    enlarged: Mapping[str, Enlarged]
    report: Report
    _inverse: Mapping[str, Ids] = field(repr=False)
    _ends: Mapping[str, frozenset[int]] = field(repr=False)
    _is_control: Mask = field(repr=False)
    _known: dict[tuple[str, ...], Of] = field(default_factory=dict, repr=False)

    def ends(self, roles: tuple[str, ...] | None = None) -> frozenset[int]:
        """Canonical ids that end a generation in one of `roles`, of all but a drafting model."""
        return self.of(roles).ends

    def control(self, roles: tuple[str, ...] | None = None) -> Mask:
        """Which canonical ids are control tokens or end a generation so, bool [n_tokens]."""
        return self.of(roles).control

    def of(self, roles: tuple[str, ...] | None = None) -> Of:
        """What holds where `roles` are fused; by default all but a drafting model."""
        if roles is None:
            roles = tuple(role for role in self.columns if role != DRAFT)
        found = self._known.get(roles)
        if found is None:  # asked at every token
            ends = frozenset[int]().union(*(self._ends[role] for role in roles))
            control = self._is_control.copy()
            control[sorted(ends)] = True
            lacked = np.unique([token for role in roles for token in self.spelled.get(role, ())])
            special = control.copy()
            special[lacked.astype(np.int32)] = True
            if "large" in roles:
                special[list(self.spelled.get("large", ()))] = False
            found = self._known[roles] = Of(ends, control, lacked.astype(np.int32), special)
        return found

    def rows(self, role: str, logits: Rows) -> Rows:
        """Rows [n, n_tokens] of a role's own logits [n, n_vocab]; a view where that can be.

        Tokens that the role lacks get the least logit of the row: finite, and meaningless.
        """
        columns = self.columns[role]
        if columns is None:
            return logits[:, : self.n_tokens]
        rows: Rows = logits[:, columns]
        if lacked := self.spelled.get(role):
            tokens = list(lacked)
            rows[:, tokens] = np.inf
            rows[:, tokens] = rows.min(axis=1, keepdims=True)
        return rows

    def length(self, role: str, tokens: Sequence[int]) -> int:
        """How many of the role's own tokens these canonical ids are."""
        spelled = self.spelled.get(role)
        if not spelled:
            return len(tokens)
        return sum(len(spelled.get(token, "1")) for token in tokens)

    def to_role(self, role: str, ids: Ids) -> Ids:
        """The role's own ids of canonical `ids`, int32 of the same shape.

        Raises:
            TrimixError: the role lacks one of them.
            ValueError: one is not in the alphabet.
        """
        own = ids.astype(np.int32)
        # As unsigned numbers negative ones are large: one look instead of two, at every step.
        if len(own) and own.view(np.uint32).max() >= self.n_tokens:
            raise ValueError(f"a token is not among the {self.n_tokens} shared ones")
        columns = self.columns[role]
        if columns is None:
            return own
        found = columns[own]
        if role in self.spelled and len(found) and found.min() < 0:
            raise TrimixError(f"the text holds token {own[np.argmin(found)]}, which {role} lacks")
        return found

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
        back = self._inverse[role]
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(back):
            raise ValueError(f"a token is not in the vocabulary of {role}")
        canonical = back[ids]
        if len(ids) and canonical.min() < 0:
            token = int(ids[int(np.argmin(canonical))])
            raise TrimixError(
                f"the text holds the name of token {token}, which is padding in {role}'s "
                "vocabulary and means nothing; take it out of the text"
            )
        return canonical
