"""How what is fed becomes batches."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.decoding.feeds import Feed, _arrays, _ends


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 9), st.integers(1, 5))
def test_batches_hold_what_llama_cpp_takes(wanted: list[bool], n_batch: int, n_rows: int) -> None:
    """As much as can be, in order, and nothing is left."""
    outputs = np.array(wanted)
    ends = _ends(outputs, n_batch, n_rows)
    assert ends[-1] == len(wanted)
    for start, end in zip([0, *ends], ends, strict=False):
        assert 0 < end - start <= n_batch
        assert outputs[start:end].sum() <= n_rows
        if end < len(wanted):
            assert end - start == n_batch or outputs[start : end + 1].sum() > n_rows


def test_rows_come_for_the_last_tokens_of_a_feed() -> None:
    tokens, positions, slots, outputs = _arrays([Feed(1, [7, 8, 9], 4, 2), Feed(0, (5,), 0, 0)])
    assert tokens.tolist() == [7, 8, 9, 5]
    assert positions.tolist() == [4, 5, 6, 0]
    assert slots.tolist() == [1, 1, 1, 0]
    assert outputs.tolist() == [False, True, True, False]
