"""Options that llama.cpp would abort on are refused before it sees them."""

from __future__ import annotations

import pytest

from trimix_cpp.errors import UsageError
from trimix_cpp.quant.options import BOUNDS, EXACT_CACHE, Options


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_every_number_has_bounds(name: str) -> None:
    least, most = BOUNDS[name]
    wrap = (lambda value: {"large": value}) if name == "n_gpu_layers" else (lambda value: value)
    for good in (least, most):
        assert getattr(Options(**{name: wrap(good)}), name) == wrap(good)
    for bad in (least - 1, most + 1, 10**400, 1.5, True, "8"):
        with pytest.raises(UsageError, match=f"{name} is a whole number from {least} to {most}"):
            Options(**{name: wrap(bad)})


def test_exact_mode_has_one_type_of_cache() -> None:
    kinds = {"large": "q4_0"}
    assert Options(type_k=kinds).cache_types("large") == ("q4_0", "f16")
    assert Options(type_v=kinds).cache_types("large", ("f32", "f32")) == ("f32", "q4_0")
    assert Options(type_k=kinds, exact=True).cache_types("large") == (EXACT_CACHE, EXACT_CACHE)
