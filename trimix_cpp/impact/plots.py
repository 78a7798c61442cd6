"""Pictures of `impact`: quality against memory, the spread of the KLD, and the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..showing import check_plot, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .report import Finding, Findings

_PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)
# Below this a KLD is rounding whatever the models are; a logarithm needs something above 0.
_LEAST = 1e-9


def draw(path: Path, report: Findings) -> None:
    """Write the panels beside each other as a picture; its kind is the name's ending.

    Mean KLD of the fused distribution against memory, percentiles of the KLD, and with a sweep of
    at most three profiles the mean KLD as alpha and as beta changes.

    Raises:
        TrimixError: matplotlib is missing.
        OSError: the system refused to write.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    # More lines than those of three profiles nobody can tell apart.
    sweep = report.task.sweep and len(report.found) <= 3
    n = 4 if sweep else 2
    figure = Figure(figsize=(5.0 * n, 4.4), layout="constrained")
    panels = figure.subplots(1, n, squeeze=False)[0]
    _memory(panels[0], report)
    _percentiles(panels[1], report)
    if sweep:
        _sweep(panels[2], report, "large", "alpha")
        _sweep(panels[3], report, "cpt", "beta")
    save_figure(figure, path, 80)


def _kld(found: Finding, name: str) -> float:
    return max(found.comparison.mean_kld(name), _LEAST)


def _memory(axes: Axes, report: Findings) -> None:
    """A point a profile, with its name."""
    for found in report.found:
        if found.cost is None:
            continue
        at = found.cost.memory_bytes / 2**20, _kld(found, report.whole)
        axes.scatter(*at, color="tab:blue", zorder=3)
        if found.noise:
            axes.scatter(at[0], max(found.noise, _LEAST), color="grey", marker="_")
        axes.annotate(found.side.name, at, textcoords="offset points", xytext=(5, 4), fontsize=8)
    axes.set(xlabel="memory, MiB (estimated)", ylabel="mean KLD, nats", yscale="log")
    axes.set_title("quality against memory (-: noise)", fontsize=11)
    axes.margins(x=0.2)
    axes.grid(alpha=0.3)


def _percentiles(axes: Axes, report: Findings) -> None:
    """A line a profile over the percentiles, evenly spaced."""
    places = range(len(_PERCENTS))
    for found in report.found:
        values = found.comparison.positions(report.whole).kld
        if len(values):
            shown = np.maximum(np.quantile(values, [p / 100 for p in _PERCENTS]), _LEAST)
            axes.plot(places, shown, marker=".", label=found.side.name)
    axes.set_xticks(places, [f"{p:g}" for p in _PERCENTS])
    axes.set(xlabel="percentile of the positions", ylabel="KLD, nats", yscale="log")
    axes.set_title("spread of the KLD", fontsize=11)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _sweep(axes: Axes, report: Findings, line: str, name: str) -> None:
    """Each role's quantization as one coefficient changes: colour a profile, stroke a role."""
    from .compare import sweep_name

    strokes: dict[str, Sequence[str] | str] = {"large": "-", "cpt": "--", "base": ":"}
    points = [(value, weights) for own, value, weights in report.task.points() if own == line]
    for number, found in enumerate(report.found):
        for role in report.task.roles:
            used = [(value, weights) for value, weights in points if role in weights.roles]
            values = [_kld(found, sweep_name(line, value, role)) for value, _ in used]
            axes.plot(
                [value for value, _ in used],
                values,
                linestyle=strokes.get(role, "-."),
                color=f"C{number}",
                label=f"{found.side.name}, {role}",
            )
    other = report.task.weights.beta if line == "large" else report.task.weights.alpha
    fixed = "beta" if line == "large" else "alpha"
    axes.set(xlabel=name, ylabel="mean KLD, nats", yscale="log")
    axes.set_title(f"one role quantized, {fixed} {other:g}", fontsize=11)
    axes.legend(fontsize=6, ncols=2)
    axes.grid(alpha=0.3)
