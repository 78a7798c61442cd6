"""What the comparison of the vocabularies found, as data and as text for a person."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..showing import Table, count

IDENTICAL, PADDED, PERMUTED, SPECIALS, EXPANDED, DIFFERENT = VERDICTS = (
    "identical",
    "padded",
    "permuted",
    "specials",
    "expanded",
    "different",
)
"""From best to worst; all but the last are fused, unless a role lacks tokens of text."""

SHOWN = 10

_MEANING = {
    IDENTICAL: "the same tokens under the same ids",
    PADDED: "the same tokens under the same ids; the rows beyond them are padding",
    PERMUTED: "the same tokens under other ids; every model is fed its own",
    SPECIALS: "the same tokens for text; some special tokens are not in all models",
    EXPANDED: "one model has tokens of text that another lacks",
    DIFFERENT: "the tokenizers differ",
}


@dataclass(frozen=True)
class TokenOf:
    """A token that only one of two vocabularies has."""

    id: int
    token: str


@dataclass(frozen=True)
class TokenDiff:
    """An id that names one token in the reference and another one in the role."""

    id: int
    reference: str
    role: str


@dataclass(frozen=True)
class SettingDiff:
    """A setting that steers tokenization and differs."""

    name: str
    reference: str
    role: str


@dataclass(frozen=True)
class ProbeDiff:
    """A text that the two tokenizers split differently; the tokens at the first difference."""

    text: str
    add_special: bool
    parse_special: bool
    position: int
    reference: str
    role: str


@dataclass(frozen=True)
class RoleReport:
    """One role against the reference role (for the reference itself: against itself).

    Of every list the first few are kept; the counts are whole. `flags` are special tokens that one
    file takes for control tokens and the other for added ones. `lacks_text`: tokens of text are
    among what the role lacks.
    """

    role: str
    file: str
    verdict: str
    n_vocab: int
    n_tokens: int
    n_shared: int
    n_only_role: int = 0
    n_only_reference: int = 0
    only_role: tuple[TokenOf, ...] = ()
    only_reference: tuple[TokenOf, ...] = ()
    differing_ids: tuple[TokenDiff, ...] = ()
    lacks_text: bool = False
    n_flags: int = 0
    flags: tuple[TokenDiff, ...] = ()
    settings: tuple[SettingDiff, ...] = ()
    n_probes: int = 0
    n_probes_differ: int = 0
    probes: tuple[ProbeDiff, ...] = ()

    @property
    def n_padding(self) -> int:
        """Rows that no token uses."""
        return self.n_vocab - self.n_tokens


@dataclass(frozen=True)
class Report:
    """All roles against the reference role."""

    verdict: str
    reference: str
    roles: tuple[RoleReport, ...]

    @property
    def fusible(self) -> bool:
        """Whether the models may be fused."""
        return self.verdict != DIFFERENT and not any(role.lacks_text for role in self.roles)

    @property
    def enlarged(self) -> tuple[str, ...]:
        """The roles with tokens of text that the reference lacks."""
        return tuple(role.role for role in self.roles if role.verdict == EXPANDED)

    @property
    def lacking(self) -> tuple[str, ...]:
        """The roles that lack tokens of the reference."""
        return tuple(role.role for role in self.roles if role.n_only_reference)

    @property
    def worst(self) -> RoleReport:
        """The first role with the worst verdict."""
        return max(self.roles, key=lambda role: (VERDICTS.index(role.verdict), role.lacks_text))

    @property
    def reference_file(self) -> str:
        """The reference role's file name."""
        return next(role.file for role in self.roles if role.role == self.reference)

    def to_json(self) -> dict[str, Any]:
        """The report for `--json`."""
        return {
            "fusible": self.fusible,
            "verdict": self.verdict,
            "reference": self.reference,
            "roles": [{**asdict(role), "n_padding": role.n_padding} for role in self.roles],
            "advice": self.advice(),
        }

    def lines(self) -> list[str]:
        """The report for the terminal, a line an entry."""
        may = "the models may be fused" if self.fusible else "the models may not be fused"
        out = [f"{self.verdict}: {_MEANING[self.verdict]}; {may}", "", *_table(self)]
        for role in self.roles:
            if role.role != self.reference:
                out += _details(role, self.reference)
        if not self.fusible:
            out += ["", f"what to do: {self.advice()}"]
        return out

    def summary(self) -> str:
        """The verdict on the worst role in one line."""
        role = self.worst
        first, second = f"{role.role} ({role.file})", f"{self.reference} ({self.reference_file})"
        return f"{first} and {second} may not be fused: {_reason(role, self.reference)}"

    def advice(self) -> str:
        """What to do about the verdict; empty where nothing is to be done."""
        if self.fusible:
            return ""
        role = self.worst
        if role.verdict == EXPANDED and self.reference != "large":
            return (
                f"begin with weights that use {role.role} too: the vocabulary of the fusion is "
                "settled when the first models are loaded"
            )
        if role.verdict == EXPANDED:
            return (
                f"take a {self.reference} without the added tokens: cpt and base may have more "
                f"tokens than {self.reference}, and not fewer"
            )
        if role.n_only_role or role.n_only_reference:
            return (
                "take models of one family: base and cpt must share the tokenizer of large; or "
                "fuse them over bytes, with --bytes of generate, chat and translate"
            )
        return (
            "convert both files again with the same converter; if it stays, their tokenizers "
            "really differ and one of the models must be replaced"
        )


def _reason(role: RoleReport, reference: str) -> str:
    if role.verdict == EXPANDED:
        return (
            f"{role.role} lacks {count(role.n_only_reference, 'token')} of {reference}, "
            f"the first are {_listed(role.only_reference)}"
        )
    if role.n_only_role or role.n_only_reference:
        return (
            f"they share {count(role.n_shared, 'token')}, "
            f"{role.role} alone has {role.n_only_role:,} (first {_listed(role.only_role)}), "
            f"{reference} alone {role.n_only_reference:,} "
            f"(first {_listed(role.only_reference)})"
        )
    if role.settings:
        return "their tokenizers differ in " + "; ".join(
            f"{s.name} ({s.role} against {s.reference})" for s in role.settings
        )
    probe = role.probes[0]
    return (
        f"{role.n_probes_differ} of {count(role.n_probes, 'text')} are split differently, first "
        f"{_shown(probe.text)}: {probe.role} against {probe.reference}"
    )


def _listed(tokens: tuple[TokenOf, ...], limit: int = 3) -> str:
    return ", ".join(f"{token.id} {token.token}" for token in tokens[:limit]) or "none"


def _table(report: Report) -> list[str]:
    rows = []
    for role in report.roles:
        counts = (role.n_vocab, role.n_tokens, role.n_padding, role.n_shared)
        verdict = "reference" if role.role == report.reference else role.verdict
        rows.append((role.role, *(f"{number:,}" for number in counts), verdict, role.file))
    head = ("role", "ids", "tokens", "padding", "shared", "verdict", "file")
    return Table(head, rows).text().split("\n")


def _details(role: RoleReport, reference: str) -> list[str]:
    out: list[str] = []

    def section(title: str, lines: list[str]) -> None:
        if lines:
            out.extend(["", title, *(f"  {line}" for line in lines)])

    section(
        f"{count(role.n_only_role, 'token')} of {role.role} that {reference} lacks, the first:",
        [f"{token.id:>7}  {token.token}" for token in role.only_role],
    )
    section(
        f"{count(role.n_only_reference, 'token')} of {reference} that {role.role} lacks, "
        "the first:",
        [f"{token.id:>7}  {token.token}" for token in role.only_reference],
    )
    if role.verdict in (SPECIALS, EXPANDED) and not role.lacks_text:
        out += ["", *_handling(role, reference)]
    section(
        f"{count(role.n_flags, 'special token')} that only one of {role.role} and {reference} "
        "flags as control tokens; one tokenizer serves all, so that is harmless. The first:",
        [f"{diff.id:>7}  {diff.role} / {diff.reference}" for diff in role.flags],
    )
    section(
        f"the first ids that name different tokens in {role.role} and {reference}:",
        [f"{diff.id:>7}  {diff.role} / {diff.reference}" for diff in role.differing_ids],
    )
    section(
        f"settings that differ between {role.role} and {reference}:",
        [f"{diff.name}: {diff.role} / {diff.reference}" for diff in role.settings],
    )
    section(
        f"{role.n_probes_differ} of {count(role.n_probes, 'text')} that "
        f"{role.role} and {reference} split differently, with the first differing token:",
        [f"{_shown(diff.text)}: {diff.role} / {diff.reference}" for diff in role.probes],
    )
    return out


def _handling(role: RoleReport, reference: str) -> list[str]:
    """What the fusion makes of tokens that only one side has."""
    out = []
    if role.verdict == EXPANDED:
        out.append(
            f"{role.role} reads prompts in its own tokens, and what it would say is brought over "
            f"to those of {reference}."
        )
    elif role.n_only_role:
        out.append(f"what only {role.role} has never comes.")
    if role.n_only_reference:
        out.append(
            f"{role.role} reads what it lacks as text. With --control large such tokens have the "
            f"probabilities of {reference}; with --control fused they never come."
        )
    return out


def _shown(text: str, limit: int = 50) -> str:
    quoted = repr(text)
    return quoted if len(quoted) <= limit else quoted[: limit - 1] + "…"
