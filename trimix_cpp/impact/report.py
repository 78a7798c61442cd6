"""What `impact` found out: as a JSON document, and as tables in text or Markdown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..fusion import Figure, figures
from ..showing import Table, count, size_text
from .compare import (
    SWEEP,
    Comparison,
    Regret,
    Task,
    alone_name,
    fused_name,
    regret,
    subsets,
    sweep_name,
)
from .costs import Cost
from .free_running import Difference
from .sides import Side

RULE = (
    "windows of {n_ctx} tokens without overlap; scored are the last {n_scored} tokens of each, "
    "after more than {first} others, as llama-perplexity does"
)
# What of the figures stands in the table of profiles.
_SHOWN = ("Mean KLD", "99.9% KLD", "Same top p", "Mean PPL(Q)/PPL(base)", "Bits per byte (Q)")


@dataclass(frozen=True)
class Finding:
    """One side's findings.

    Attributes:
        comparison: with the reference.
        noise: mean KLD of its fused distribution against itself in batches of another size: what
            is not above it may be rounding. None where it was not measured.
        answers, cost: where they were asked for.
    """

    comparison: Comparison
    noise: float | None = None
    answers: Difference | None = None
    cost: Cost | None = None

    @property
    def side(self) -> Side:
        """The quantized side."""
        return self.comparison.side


@dataclass(frozen=True)
class Findings:
    """The findings on one trio.

    Attributes:
        trio: its name.
        task: what was measured.
        reference: what with.
        found: side by side.
        noise: of the reference, as `Finding.noise`.
        n_ctx: tokens of a window.
        slices: show every label of the text by itself, too.
    """

    trio: str
    task: Task
    reference: Side
    found: Sequence[Finding]
    n_ctx: int
    noise: float | None = None
    slices: bool = False

    @property
    def whole(self) -> str:
        """The name of the fused distribution with every role quantized."""
        return fused_name(self.task.weights.roles)

    @property
    def labels(self) -> list[str]:
        """The slices of the text."""
        return list(dict.fromkeys(w.label for w in self.found[0].comparison.windows))

    @property
    def rule(self) -> str:
        """Which positions are scored."""
        first = self.n_ctx // 2
        return RULE.format(n_ctx=self.n_ctx, first=first, n_scored=self.n_ctx - 1 - first)

    def document(self) -> dict[str, Any]:
        """The JSON document; NaN is null."""
        windows = self.found[0].comparison.windows
        return {
            "trio": self.trio,
            "weights": self.task.weights.as_json(),
            "coefficients": self.task.weights.coefficients,
            "reference": {"name": self.reference.name, "types": dict(self.reference.types)},
            "positions": self.rule,
            "windows": {label: sum(w.label == label for w in windows) for label in self.labels},
            "noise_floor": self.noise,
            "profiles": [self._profile(found) for found in self.found],
        }

    def _profile(self, found: Finding) -> dict[str, Any]:
        comparison = found.comparison
        parts = {"all": None, **({label: label for label in self.labels} if self.slices else {})}
        document: dict[str, Any] = {
            "name": found.side.name,
            "types": dict(found.side.types),
            "noise_floor": found.noise,
            "type_k": found.side.type_k,
            "type_v": found.side.type_v,
            "slices": {name: self._figures(comparison, label) for name, label in parts.items()},
            "ablation": {
                name: {roles: _number(value) for roles, value in values.items()}
                for name, values in self._ablation(comparison).items()
            },
        }
        if self.task.sweep:
            document["sweep"] = [
                {"line": line, "coefficient": value, "weights": weights.as_json(), "mean KLD": {
                    role: _number(comparison.mean_kld(sweep_name(line, value, role)))
                    for role in weights.roles
                }}
                for line, value, weights in self.task.points()
            ]  # fmt: skip
        if self.task.grid:
            document["weights"] = _regret(regret(comparison, self.task.grid))
        if found.answers:
            document["answers"] = found.answers.as_json()
        if found.cost:
            document["cost"] = found.cost.as_json()
        return document

    def _figures(self, comparison: Comparison, label: str | None) -> dict[str, Any]:
        names = {"fused": self.whole, **{role: alone_name(role) for role in self.task.roles}}
        found = {}
        for short, name in names.items():
            positions = comparison.positions(name, label)
            found[short] = {
                "positions": len(positions),
                "positions with a logit that is not finite": positions.n_bad,
                **(
                    {k: _figure(v) for k, v in figures(positions).items()} if len(positions) else {}
                ),
            }
        return found

    def _ablation(self, comparison: Comparison) -> dict[str, Any]:
        """Mean KLD of the fused distribution by the roles that are quantized, and interactions."""
        alone = {
            chosen: comparison.mean_kld(fused_name(chosen))
            for chosen in subsets(self.task.weights.roles)
        }
        pairs = itertools.combinations(self.task.weights.roles, 2)
        return {
            "mean KLD": {"+".join(chosen): value for chosen, value in alone.items()},
            "interaction": {f"{a}+{b}": alone[a, b] - alone[(a,)] - alone[(b,)] for a, b in pairs},
        }

    def tables(self) -> list[Table]:
        """The tables, the most important first."""
        tables = [self._profiles(None)]
        if self.slices:
            tables += [self._profiles(label) for label in self.labels]
        if len(self.found) == 1:
            tables.append(self._all_figures())
        tables.append(self._ablations())
        if self.task.sweep:
            tables += [self._sweep(line) for line in ("large", "cpt")]
        if self.task.grid:
            tables.append(self._regrets())
        if self.found[0].answers:
            tables.append(self._answers())
        if self.found[0].cost:
            tables.append(self._costs())
        return tables

    def text(self, *, markdown: bool = False) -> str:
        """Everything for the reader."""
        noise = "not measured" if self.noise is None else f"{self.noise:.1e}"
        lines = [
            f"{self.trio}, {self.task.weights}; reference: {self.reference.name} "
            f"({_types(self.reference)})",
            self.rule,
            f"noise: mean KLD of a side against itself in batches of another size, that of the "
            f"reference {noise}; ~ marks a KLD that is not above the profile's own",
        ]
        if markdown:
            lines = ["\n\n".join(lines)]
        tables = [table.markdown() if markdown else table.text() for table in self.tables()]
        return "\n\n".join(["\n".join(lines), *tables])

    def _kld(self, value: float, found: Finding) -> str:
        """A mean KLD; with a mark where it may be rounding."""
        mark = "~" if found.noise is not None and value <= found.noise else ""
        return f"{mark}{value:.6f}"

    def _profiles(self, label: str | None) -> Table:
        roles = self.task.weights.roles
        head = ["profile", *roles, "KV", *_SHOWN, "noise"]
        rows = []
        for found in self.found:
            positions = found.comparison.positions(self.whole, label)
            cells = ["no finite position"] * len(_SHOWN)
            if len(positions):
                by_name = figures(positions)
                mean = by_name["Mean KLD"]
                cells = [
                    f"{self._kld(mean.value, found)} ± {mean.error:.6f}",
                    f"{by_name['99.9% KLD'].value:.4f}",
                    f"{by_name['Same top p'].value:.2f} %",
                    f"{by_name['Mean PPL(Q)/PPL(base)'].value:.4f}",
                    f"{by_name['Bits per byte (Q)'].value:.4f}",
                ]
            types = [found.side.types[role] for role in roles]
            noise = "-" if found.noise is None else f"{found.noise:.6f}"
            kv = dict.fromkeys(found.side.variants[role].type_k for role in roles)
            rows.append([found.side.name, *types, "/".join(kv), *cells, noise])
        n = len(self.found[0].comparison.positions(self.whole, label))
        bad = sum(f.comparison.positions(self.whole, label).n_bad for f in self.found)
        note = f"{bad} positions with a logit that is not finite were left out" if bad else ""
        title = f"{label or 'All text'}: {count(n, 'position')}"
        return Table(head, rows, title, note)

    def _all_figures(self) -> Table:
        comparison = self.found[0].comparison
        names = {"fused": self.whole, **{role: alone_name(role) for role in self.task.roles}}
        columns = {
            short: figures(found) if len(found := comparison.positions(name)) else {}
            for short, name in names.items()
        }
        labels = next((list(column) for column in columns.values() if column), [])
        rows = [
            [label, *(_show(label, column.get(label)) for column in columns.values())]
            for label in labels
        ]
        title = f"{self.found[0].side.name}: the fused distribution, and each role alone"
        return Table(["", *columns], rows, title)

    def _ablations(self) -> Table:
        roles = self.task.weights.roles
        chosen, pairs = subsets(roles), list(itertools.combinations(roles, 2))
        head = ["profile", *("+".join(c) for c in chosen), *(f"{a} × {b}" for a, b in pairs)]
        rows = []
        for found in self.found:
            ablation = self._ablation(found.comparison)
            cells = [f"{value:.6f}" for value in ablation["mean KLD"].values()]
            both = [f"{value:+.6f}" for value in ablation["interaction"].values()]
            rows.append([found.side.name, *cells, *both])
        shown = ", ".join(f"{r} {c:g}" for r, c in self.task.weights.coefficients.items())
        return Table(
            head,
            rows,
            f"Mean KLD of the fused distribution, these roles quantized (coefficients: {shown})",
            "a × b: what both together cost beyond the sum; below 0 the errors cancel",
        )

    def _sweep(self, line: str) -> Table:
        name = "alpha" if line == "large" else "beta"
        other = self.task.weights.beta if line == "large" else self.task.weights.alpha
        fixed = f"{'beta' if line == 'large' else 'alpha'} {other:g}"
        rows = []
        for found in self.found:
            for role in self.task.roles:
                cells = []
                for _, value, weights in (p for p in self.task.points() if p[0] == line):
                    here = sweep_name(line, value, role)
                    used = role in weights.roles
                    cells.append(f"{found.comparison.mean_kld(here):.6f}" if used else "-")
                rows.append([f"{found.side.name}, only {role}", *cells])
        head = ["quantized", *(f"{name} {value:g}" for value in SWEEP)]
        return Table(head, rows, f"Mean KLD as {name} changes, {fixed}")

    def _regrets(self) -> Table:
        assert self.task.grid is not None
        rows = []
        for found in self.found:
            own = regret(found.comparison, self.task.grid)
            rows.append(
                [
                    found.side.name,
                    f"{own.before.alpha:g}, {own.before.beta:g}",
                    f"{own.after.alpha:g}, {own.after.beta:g}",
                    f"{math.expm1(own.nats):.4%}",
                ]
            )
        head = ["profile", "best of the reference", "best after", "regret in PPL"]
        return Table(head, rows, "The pair (alpha, beta) under which the text is likeliest")

    def _answers(self) -> Table:
        rows, signature = [], ""
        scored = any(found.answers and found.answers.score for found in self.found)
        head = ["profile", "same answers", "first difference at (median)"]
        head += ["chrF++ before", "after", "p"] if scored else []
        for found in self.found:
            own = found.answers
            assert own is not None
            median = "-" if own.median is None else f"{own.median:g}"
            row = [found.side.name, f"{own.n_same} of {own.n}", median]
            if own.score:
                score, signature = own.score, own.score.signature
                row += [f"{score.base:.2f}", f"{score.quantized:.2f}", f"{score.p_value:.3f}"]
            rows.append(row)
        note = f"chrF++: {signature}; p: paired bootstrap, 1,000 samples" if signature else ""
        return Table(head, rows, "Free running, greedy", note)

    def _costs(self) -> Table:
        rows = []
        for found in self.found:
            own = found.cost
            assert own is not None
            row = [found.side.name, size_text(own.disk_bytes), size_text(own.memory_bytes)]
            if own.run:
                run = own.run
                row += [
                    size_text(run.peak_bytes),
                    f"{run.prompt_speed:.1f}",
                    f"{run.speed:.1f}",
                    f"{run.batch_steps[4]:.2f}",
                    f"{run.batch_steps[16]:.2f}",
                ]
            rows.append(row)
        head = ["profile", "files", "memory"]
        if self.found[0].cost and self.found[0].cost.run:
            head += ["peak", "prompt, tokens/s", "generation, tokens/s"]
            head += ["4 at once, in tokens", "16 at once"]
        n_ctx = self.found[0].cost.n_ctx if self.found[0].cost else 0
        note = f"memory: estimated, at {n_ctx} tokens of context"
        if len(head) > 3:
            note += "; at once: what checking drafts costs all roles but cpt"
        return Table(head, rows, "Cost of the roles in use", note)


def _show(name: str, figure: Figure | None) -> str:
    """A figure with its error, as llama-perplexity prints it."""
    if figure is None:
        return "-"
    percent = "Δp" in name or name.startswith(("Same", "Cor"))
    digits, unit = (3, " %") if percent else (6, "")
    error = "" if math.isnan(figure.error) else f" ± {figure.error:.{digits}f}"
    return f"{figure.value:.{digits}f}{error}{unit}"


def _types(side: Side) -> str:
    return ", ".join(f"{role} {kind}" for role, kind in side.types.items())


def _figure(figure: Figure) -> dict[str, float | None]:
    found = {"value": _number(figure.value)}
    return found if math.isnan(figure.error) else {**found, "error": _number(figure.error)}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _regret(own: Regret) -> dict[str, Any]:
    return {
        "best of the reference": own.before.as_json(),
        "best after": own.after.as_json(),
        "regret, nats a token": own.nats,
    }
