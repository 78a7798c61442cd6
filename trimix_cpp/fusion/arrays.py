"""The arrays of this room, by name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.float32]
"""Logits of one position, [n_tokens]."""

Rows = NDArray[np.float32]
"""Logits of several positions, [n, n_tokens]."""

Doubles = NDArray[np.float64]
"""What is reckoned in full precision."""

Ids = NDArray[np.int32]
"""Token ids, [n]."""

Mask = NDArray[np.bool_]
"""Which tokens, [n_tokens]."""
