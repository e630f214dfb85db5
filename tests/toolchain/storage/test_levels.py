"""The levels of fixed formats, against the types that other people wrote down."""

import ml_dtypes
import numpy as np
import pytest
from hwc.toolchain.storage.formats import Format
from hwc.toolchain.storage.levels import bfloat16, fixed_levels
from hypothesis import given
from hypothesis import strategies as st

FLOATS = {
    "float4e2m1": (ml_dtypes.float4_e2m1fn, 4),
    "float6e2m3": (ml_dtypes.float6_e2m3fn, 6),
    "float6e3m2": (ml_dtypes.float6_e3m2fn, 6),
    "float8e4m3": (ml_dtypes.float8_e4m3fn, 8),
    "float8e5m2": (ml_dtypes.float8_e5m2, 8),
}
FIXED = [*FLOATS, *(f"{kind}{bits}" for kind in ("int", "log", "lsq") for bits in range(2, 9))]


@pytest.mark.parametrize("name", FLOATS)
def test_small_floats_are_those_of_the_specifications(name: str) -> None:
    dtype, bits = FLOATS[name]
    every = np.arange(2**bits, dtype=np.uint8).view(dtype).astype(np.float32)
    expected = np.unique(every[np.isfinite(every)])
    assert np.array_equal(fixed_levels(Format.parse(name)), expected)


@pytest.mark.parametrize("name", FIXED)
def test_levels_ascend_have_a_zero_fit_their_codes_and_are_exact(name: str) -> None:
    form = Format.parse(name)
    levels = fixed_levels(form)
    assert (np.diff(levels) > 0).all()
    assert np.array_equal(levels, -levels[::-1])
    assert 0.0 in levels
    assert len(levels) <= 2**form.bits
    assert np.array_equal(levels, bfloat16(levels))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_logarithmic_levels_of_few_bits_are_powers_of_two(bits: int) -> None:
    levels = fixed_levels(Format.parse(f"log{bits}"))
    positive = levels[levels > 0]
    assert np.array_equal(positive[::-1], 0.5 ** np.arange(2 ** (bits - 1) - 1))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, max_value=2.0**127))
def test_bfloat16_rounds_as_the_type_does(number: float) -> None:
    array = np.array([number], np.float32)
    expected = array.astype(ml_dtypes.bfloat16).astype(np.float32)
    assert np.isinf(expected).any() or np.array_equal(bfloat16(array), expected)
    assert np.isfinite(bfloat16(array)).all()
