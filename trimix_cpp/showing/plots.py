"""Pictures of results, by matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TrimixError, UsageError
from ..files import check_destination, replacing

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


@dataclass(frozen=True)
class HeatMap:
    """One panel: a value for every pair of weights, as Figure 4 of the paper has it.

    Attributes:
        title: what the values are.
        alphas, betas: the grid's lines.
        values: shape [n_alpha, n_beta].
        best: index of the best pair: it gets a frame.
        show: a value as its cell has it.
        less_is_better: the palette's dark end is then the least value.
        log: colours follow the logarithm of the values.
    """

    title: str
    alphas: Sequence[float]
    betas: Sequence[float]
    values: NDArray[np.float64]
    best: tuple[int, int]
    show: Callable[[float], str]
    less_is_better: bool = True
    log: bool = False


def check_plot(path: Path) -> None:
    """Find out before long work whether a picture can be written to `path`.

    One that is there is replaced if matplotlib drew it.

    Raises:
        UsageError: the name's ending is no kind of picture.
        TrimixError: matplotlib is missing, or another file is there, or none can be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError:
        raise TrimixError("--plot needs matplotlib: pip install 'trimix-cpp[plot]'") from None
    kinds = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise UsageError(f"--plot: {path}: name it .png, .pdf or .svg")
    check_destination(path, ours=_is_drawn, advice="it is no plot; choose another name")


def _is_drawn(path: Path) -> bool:
    # Every kind of picture names the program that made it, SVG and PDF near one of the ends.
    return path.is_file() and b"matplotlib" in path.read_bytes().lower()


def draw_heat_maps(path: Path, panels: Sequence[HeatMap]) -> None:
    """Write the panels beside each other as a picture; its kind is the name's ending.

    Raises:
        TrimixError: matplotlib is missing.
        OSError: the system refused to write.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    # A Figure of its own, not pyplot's: no window, and nothing global is touched.
    figure = Figure(figsize=(5.6 * len(panels), 4.8), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw_heat_map(axes, panel)
    save_figure(figure, path, 150)


def save_figure(figure: Figure, path: Path, dpi: int) -> None:
    """Write a picture whose kind is the name's ending, whole or not at all; raises OSError."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=dpi)


def draw_heat_map(axes: Axes, panel: HeatMap) -> None:
    """Draw one panel on axes of a figure."""
    import numpy as np
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.patches import Rectangle

    # alpha from left to right, beta upwards.
    values = panel.values.T
    low, high = float(values.min()), float(values.max())
    norm = LogNorm(low, high) if panel.log and 0 < low < high else Normalize(low, high)
    colours = "Blues_r" if panel.less_is_better else "Blues"
    image = axes.imshow(values, origin="lower", cmap=colours, norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        text = panel.show(float(value))
        colour = "white" if dark else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    frame = (panel.best[0] - 0.5, panel.best[1] - 0.5)
    axes.add_patch(Rectangle(frame, 1, 1, fill=False, edgecolor="tab:red", linewidth=2.5))
    axes.set_xticks(range(len(panel.alphas)), [f"{alpha:g}" for alpha in panel.alphas])
    axes.set_yticks(range(len(panel.betas)), [f"{beta:g}" for beta in panel.betas])
    axes.set_xlabel("alpha (large)")
    axes.set_ylabel("beta (cpt)")
    axes.set_title(panel.title, fontsize=11)
