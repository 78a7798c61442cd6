"""The trim keeps what a full sort would keep, whatever the pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimix_cpp.merge.precision import ROUND, bf16_bits, encode
from trimix_cpp.merge.trimming import find_trim


@given(
    values=st.lists(st.floats(-1e4, 1e4, width=16), min_size=1, max_size=60),
    noise=st.sampled_from([0.0, 1e-4]),
    size=st.integers(1, 60),
    data=st.data(),
)
def test_the_greatest_stay(
    values: list[float], noise: float, size: int, data: st.DataObject
) -> None:
    array = np.array(values, np.float32)
    array += np.float32(noise) * np.arange(len(array), dtype=np.float32)
    k = data.draw(st.integers(1, len(array)))
    pieces = [array[i : i + size] for i in range(0, len(array), size)]
    trim = find_trim(lambda: pieces, k)
    kept = np.concatenate([trim(piece) for piece in pieces])
    best = np.sort(np.argsort(-np.abs(array), kind="stable")[:k])
    expected = np.zeros_like(array)
    expected[best] = array[best]
    np.testing.assert_array_equal(kept, expected)


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40))
def test_rounding_goes_to_the_nearest(values: list[float]) -> None:
    array = np.array(values, np.float32)
    rounded = ROUND["BF16"](array)
    np.testing.assert_array_equal(ROUND["BF16"](rounded), rounded)
    finite = np.isfinite(array) & np.isfinite(rounded)
    bits = bf16_bits(array[finite]).astype(np.int64)
    exact = array[finite].astype(np.float64)
    error = np.abs(rounded[finite].astype(np.float64) - exact)
    for step in (-1, 1):  # the neighbours, as far as they are finite numbers of the same sign
        other = ((bits + step) % (1 << 16)).astype(np.uint32) << 16
        near = other.view(np.float32).astype(np.float64)
        same = np.isfinite(near) & (np.signbit(near) == np.signbit(exact))
        assert (error[same] <= np.abs(near - exact)[same]).all()
        ties = same & (error == np.abs(near - exact)) & (error > 0)
        assert not (bits[ties] & 1).any()


@pytest.mark.parametrize(
    ("dtype", "expected"), [("BF16", "803f"), ("F16", "003c"), ("F32", "0000803f")]
)
def test_bytes_of_a_number(dtype: str, expected: str) -> None:
    assert encode(np.ones(1, np.float32), dtype).hex() == expected
