"""Windows of text, which every model is evaluated on.

A window is `n_ctx` tokens of the text, windows follow each other without overlap, what is left
over at the end is not read; where the model adds a BOS token, it takes the place of a window's
first. Scored is every token of a window that has more than `n_ctx // 2` tokens before it: the
rule of llama-perplexity (tools/perplexity/perplexity.cpp).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Of every slice, for the noise floor.
NOISE_WINDOWS = 2


@dataclass(frozen=True)
class Window:
    """A piece of text.

    Attributes:
        label: which slice of the text it belongs to.
        tokens: what is evaluated, ids of the alignment, [n_ctx].
        targets: the scored tokens, those that follow the scored rows, [n_scored].
        n_bytes: bytes of each target.
    """

    label: str
    tokens: NDArray[np.int32]
    targets: NDArray[np.int32]
    n_bytes: NDArray[np.int64]

    @property
    def first(self) -> int:
        """The first position whose row is scored."""
        return len(self.tokens) - 1 - len(self.targets)

    def hash(self) -> str:
        """A key of what is evaluated."""
        return hashlib.sha256(self.tokens.tobytes()).hexdigest()[:32]


def noise_windows(windows: Sequence[Window]) -> list[Window]:
    """The windows that the noise floor is measured on: the first few of every slice."""
    labels = dict.fromkeys(window.label for window in windows)
    return [
        window
        for label in labels
        for window in [w for w in windows if w.label == label][:NOISE_WINDOWS]
    ]
