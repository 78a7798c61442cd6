"""The paper's Figures 3 and 4 of what was found, by matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..showing import HeatMap, draw_heat_map, save_figure
from .documents import average_grid, sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(path: Path, documents: Sequence[dict[str, Any]]) -> None:
    """Draw what the documents have: scores by sizes, the mean score of each pair of weights.

    Raises:
        UsageError: they have neither.
        OSError: the system refused to write.
    """
    from matplotlib.figure import Figure

    points, averaged = sizes(documents), average_grid(documents)
    panels = [*(["sizes"] if len(points) > 1 else []), *(["grid"] if averaged else [])]
    if not panels:
        raise UsageError(
            "--plot draws the scores of all pairs (--methods upper-bound) or of several sizes "
            "(--with documents of other trios): there is neither"
        )
    figure = Figure(figsize=(5.6 * len(panels), 4.8), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        if panel == "sizes":
            _draw_sizes(axes, points)
        elif averaged:
            grid, scores = averaged
            best = grid.best(-scores)
            draw_heat_map(axes, HeatMap(
                "mean score of all tasks", grid.alphas, grid.betas, scores, best, "{:.1f}".format,
                less_is_better=False,
            ))  # fmt: skip
    save_figure(figure, path, 150)


def _draw_sizes(axes: Axes, points: Sequence[tuple[float, float, float]]) -> None:
    """A line for each cpt, over the size of large; circles grow with what was trained."""
    largest = max(cpt for cpt, _, _ in points)
    for cpt in dict.fromkeys(cpt for cpt, _, _ in points):
        own = np.array([(large, value) for size, large, value in points if size == cpt])
        (line,) = axes.plot(own[:, 0], own[:, 1], label=f"cpt {_billions(cpt)}")
        axes.scatter(own[:, 0], own[:, 1], s=40 + 200 * cpt / largest, color=line.get_color())
    axes.set_xscale("log")
    ticks = sorted({large for _, large, _ in points})
    axes.set_xticks(ticks, [_billions(large) for large in ticks])
    axes.set_xlabel("large")
    axes.set_ylabel("mean score of TriMix (PPL)")
    axes.legend()


def _billions(parameters: float) -> str:
    return f"{parameters / 1e9:.2g}B" if parameters >= 1e9 else f"{parameters / 1e6:.3g}M"
