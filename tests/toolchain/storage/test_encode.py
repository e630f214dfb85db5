"""Round trips of weights through every storage format."""

import numpy as np
import numpy.typing as npt
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.storage.encode import TINY, decode, encode, kept, relative_error, stored
from hwc.toolchain.storage.formats import Format, Kind
from hwc.toolchain.storage.levels import fixed_levels
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

Array = npt.NDArray[np.float32]
NAMES = [
    *(f"int{bits}" for bits in range(2, 9)),
    *("int4/tensor", "int4/32", "int8/128", "lsq2", "lsq3/64", "lsq4", "lsq8/tensor"),
    *("log2", "log4", "log5/32", "log8", "float4e2m1", "float6e2m3", "float6e3m2"),
    *("float8e4m3", "float8e5m2/tensor", "codebook2", "codebook4", "codebook8"),
    *("codebook3/channel", "lsq3~50", "int4~75x4", "float6e2m3/32~30", "int8/tensor~90x16"),
]
FORMATS = st.sampled_from([Format.parse(name) for name in NAMES])
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)
WEIGHTS = hnp.arrays(np.float32, SHAPES, elements=NUMBERS)


def is_near(form: Format) -> bool:
    """Whether each weight has the level that is nearest to it."""
    return form.kind not in {Kind.LSQ, Kind.CODEBOOK} and not form.zeros


def axes(array: Array) -> st.SearchStrategy[int | None]:
    return st.sampled_from([None, *range(array.ndim)])


def weight(seed: int = 0, shape: tuple[int, ...] = (24, 10, 3, 3)) -> Array:
    """Normal numbers with channels of different size, as folded batch norms leave them."""
    generator = np.random.default_rng(seed)
    size = generator.uniform(0.05, 1.0, (shape[0], *[1] * (len(shape) - 1)))
    return (generator.standard_normal(shape) * size).astype(np.float32)


@settings(max_examples=150, deadline=None)
@given(st.data(), WEIGHTS, FORMATS)
def test_what_was_decoded_encodes_to_itself(
    data: st.DataObject, array: Array, form: Format
) -> None:
    axis = data.draw(axes(array))
    first = encode(array, form, axis)
    once = decode(first)
    assert once.shape == array.shape
    assert once.dtype == np.float32
    assert np.isfinite(once).all()
    again = stored(once, form, axis)
    assert np.array_equal(again, once)
    assert first.codes.max(initial=0) < 2**form.bits


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 2)], ids=str)
@pytest.mark.parametrize("name", ["codebook3/channel", "codebook3", "int4", "log4/channel"])
def test_an_empty_weight(name: str, shape: tuple[int, ...]) -> None:
    empty = np.zeros(shape, np.float32)
    assert stored(empty, Format.parse(name), 0).shape == shape


@pytest.mark.parametrize("name", ["int4", "lsq3", "log4", "int4/32", "codebook3/channel"])
def test_scales_and_levels_of_another_weight(name: str) -> None:
    form, array = Format.parse(name), weight()
    first = encode(array, form)
    other = array.copy()
    other[:, 0] += np.float32(0.3)
    again = encode(other, form, like=first)
    assert np.array_equal(again.scales, first.scales)
    assert np.array_equal(again.levels, first.levels)
    moved = (again.codes != first.codes).reshape(array.shape)
    assert moved[:, 0].any()
    assert not moved[:, 1:].any()


@settings(max_examples=150, deadline=None)
@given(st.data(), WEIGHTS, FORMATS.filter(is_near))
def test_no_weight_is_off_by_more_than_half_a_step(
    data: st.DataObject, array: Array, form: Format
) -> None:
    axis = data.draw(axes(array))
    encoded = encode(array, form, axis)
    gaps = np.diff(fixed_levels(form)).astype(np.float64)
    widest = float(gaps.max()) * float(encoded.scales.max(initial=0.0))
    error = np.abs(decode(encoded).astype(np.float64) - array)
    assert error.max(initial=0.0) <= 0.501 * widest + float(TINY)


@pytest.mark.parametrize("name", NAMES)
def test_zeros_stay_zeros(name: str) -> None:
    form = Format.parse(name)
    array = weight()
    array[::2, 1] = 0.0
    assert (stored(array, form)[::2, 1] == 0).all()
    assert not stored(np.zeros((4, 40), np.float32), form).any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(name: str, bad: float) -> None:
    array = weight(shape=(3, 5))
    array[1, 2] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        encode(array, Format.parse(name))


@pytest.mark.parametrize("name", NAMES)
def test_denormal_weights_beside_others_do_no_harm(name: str) -> None:
    array = weight(shape=(4, 64))
    array[1] = 1e-40
    held = stored(array, Format.parse(name))
    assert np.abs(held[1]).max() <= 2 * np.abs(array).max() / 3
    assert np.isfinite(held).all()


@pytest.mark.parametrize("name", ["int8", "int4", "lsq4", "log4", "float8e4m3"])
def test_largest_floats_do_not_overflow(name: str) -> None:
    most = np.finfo(np.float32).max
    array = np.array([[most, -most, most / 2, 0.0]], np.float32)
    held = stored(array, Format.parse(name))
    assert np.isfinite(held).all()
    assert held[0, 0] > 0.98 * most


@pytest.mark.parametrize("axis", [0, 1, 3, None])
def test_scales_follow_the_channel_axis(axis: int | None) -> None:
    array = weight(shape=(6, 5, 2, 3))
    form = Format.parse("int4")
    held = stored(array, form, axis)
    if axis is None:
        assert np.array_equal(held, stored(array, Format.parse("int4/tensor"), 0))
        return
    moved = np.moveaxis(array, axis, 0)
    one = [stored(np.ascontiguousarray(part)[None], form, 0)[0] for part in moved]
    assert np.array_equal(held, np.moveaxis(np.stack(one), 0, axis))


def test_more_bits_less_error_for_each_kind() -> None:
    array = weight()
    for kind, least in (("int", 2), ("lsq", 2), ("log", 3), ("codebook", 2)):
        errors = [relative_error(array, Format.parse(f"{kind}{b}")) for b in range(least, 9)]
        assert errors == sorted(errors, reverse=True), kind


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_fitted_step_beats_the_largest_weight(bits: int) -> None:
    array = weight()
    fitted = relative_error(array, Format.parse(f"lsq{bits}"))
    assert fitted < 0.9 * relative_error(array, Format.parse(f"int{bits}"))


def test_a_fitted_step_is_near_the_best_of_a_fine_sweep() -> None:
    row = weight(shape=(1, 3000))
    most, best = np.abs(row).max(), np.inf
    for step in np.linspace(0.05, 1.0, 400) * most / 3:
        codes = np.clip(np.rint(row / step), -3, 3)
        best = min(best, float(((row - codes * step) ** 2).sum() / (row**2).sum()))
    assert relative_error(row, Format.parse("lsq3")) <= 1.01 * best


def test_blocks_are_better_than_channels_and_channels_than_a_tensor() -> None:
    array = weight(shape=(16, 256))
    errors = [relative_error(array, Format.parse(f"int4{end}")) for end in ("/32", "", "/tensor")]
    assert errors == sorted(errors)


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("run", [1, 4])
def test_the_smallest_weights_of_the_tensor_become_zeros(run: int, axis: int | None) -> None:
    array = weight(shape=(8, 16, 3, 3))
    form = Format.parse("int8~60" + ("x4" if run > 1 else ""))
    held, mask = stored(array, form, axis), kept(array, form, axis)
    assert mask.mean() == pytest.approx(0.4, abs=0.01)
    assert not held[~mask].any()
    plain = stored(array * mask, Format.parse("int8"), axis)
    np.testing.assert_array_equal(held, plain)
    rows = np.moveaxis(array, axis or 0, 0).reshape(-1, run)
    stay = np.moveaxis(mask, axis or 0, 0).reshape(-1, run)
    assert (stay.all(1) | ~stay.any(1)).all()
    sums = np.abs(rows).sum(1)
    assert sums[stay.all(1)].min() >= sums[~stay.any(1)].max()


def test_a_short_run_at_the_end_of_a_channel_counts_as_much_as_others() -> None:
    """Of nine numbers the last is a run of its own, and no smaller than the others."""
    array = np.random.default_rng(0).standard_normal((64, 1, 3, 3)).astype(np.float32)
    mask = kept(array, Format.parse("int8~50x4")).reshape(64, 9)
    assert 0.3 < mask[:, 8].mean() < 0.9


def test_zeros_come_little_by_little() -> None:
    array, form = weight(), Format.parse("lsq3~80")
    shares = [1 - kept(array, form, along=along).mean() for along in (0.0, 0.25, 1.0)]
    np.testing.assert_allclose(shares, [0.0, 0.2, 0.8], atol=1e-3)


def test_codebooks_heed_importance() -> None:
    array = weight(shape=(2, 2000))
    importance = np.where(np.abs(array) > 0.5, 50, 1).astype(np.float32)
    form = Format.parse("codebook3")
    large = np.abs(array) > 0.5

    def error(held: Array) -> float:
        return float(((held - array)[large] ** 2).sum())

    assert error(stored(array, form, importance=importance)) < 0.7 * error(stored(array, form))
