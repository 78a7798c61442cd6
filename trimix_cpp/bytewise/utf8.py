"""Which bytes may follow where text is UTF-8."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..fusion import Mask
from .spelling import END, N_SYMBOLS

# Where the second byte may not be any continuation: overlong forms, surrogates, beyond U+10FFFF.
_SECOND = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}


def unfinished(data: bytes) -> bytes:
    """The bytes of a character that `data` ends within; empty where it ends with one."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return data[-back:] if back < length else b""
        if byte < 0x80:
            break
    return b""


@lru_cache(maxsize=4096)
def allowed(begun: bytes) -> Mask:
    """Which symbols may come after the bytes of an `unfinished` character; bool [257].

    A text may end only where a character does.
    """
    may = np.zeros(N_SYMBOLS, np.bool_)
    if not begun:
        may[:0x80] = may[0xC2:0xF5] = may[END] = True
    else:
        low, high = _SECOND.get(begun[0], (0x80, 0xBF)) if len(begun) == 1 else (0x80, 0xBF)
        may[low : high + 1] = True
    may.flags.writeable = False
    return may
