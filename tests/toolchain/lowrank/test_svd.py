"""The best weight of a rank: against the theorem, and against inputs that are not alike."""

import numpy as np
import pytest
from hwc.toolchain.lowrank.error import output_error, weight_error
from hwc.toolchain.lowrank.factors import Floats, Method
from hwc.toolchain.lowrank.methods import decompose
from hypothesis import given, settings
from hypothesis import strategies as st

RTOL = 1e-9


def random(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape)


def moments_of(inputs: int) -> Floats:
    """Of inputs that differ in size by a factor of a thousand, and hang together."""
    rng = np.random.default_rng(3)
    mixed = np.linalg.qr(rng.standard_normal((inputs, inputs)))[0]
    x = rng.standard_normal((500, inputs)) * np.geomspace(1, 1e-3, inputs) @ mixed
    return np.asarray(x.T @ x / len(x), np.float64)


@settings(max_examples=30, deadline=None)
@given(out=st.integers(1, 12), into=st.integers(1, 12), data=st.data())
def test_the_error_is_that_of_the_theorem(out: int, into: int, data: st.DataObject) -> None:
    """Eckart & Young: what is lost is the singular values that are cut off."""
    weight = random(out, into)
    rank = data.draw(st.integers(1, min(out, into)))
    values = np.linalg.svd(weight, compute_uv=False)
    best = np.sqrt((values[rank:] ** 2).sum() / (values**2).sum())
    made = decompose(weight, Method.SVD).truncate((rank,))
    assert weight_error(weight, made) == pytest.approx(best, rel=RTOL, abs=1e-12)


@pytest.mark.parametrize("shape", [(12, 9), (9, 12), (10, 2, 2, 2)], ids=str)
def test_with_moments_the_output_error_is_the_least(shape: tuple[int, ...]) -> None:
    weight = random(*shape)
    moments = moments_of(int(np.prod(shape[1:])))
    whitened = weight.reshape(len(weight), -1) @ np.linalg.cholesky(moments)
    values = np.linalg.svd(whitened, compute_uv=False)
    for rank in range(1, len(values)):
        plain, aware = (
            output_error(weight, decompose(weight, Method.SVD, m).truncate((rank,)), moments)
            for m in (None, moments)
        )
        best = np.sqrt((values[rank:] ** 2).sum() / (values**2).sum())
        assert aware == pytest.approx(best, rel=1e-3)  # moments are damped by 1e-8 of their mean
        assert aware < plain


def test_with_moments_anisotropic_inputs_lose_far_less() -> None:
    weight, moments = random(32, 24), moments_of(24)
    plain, aware = (
        output_error(weight, decompose(weight, Method.SVD, m).truncate((8,)), moments)
        for m in (None, moments)
    )
    assert aware < plain / 3


def test_output_error_is_what_is_measured_on_inputs() -> None:
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((300, 9)) * np.arange(1, 10), random(7, 9)
    made = decompose(weight, Method.SVD).truncate((4,))
    lost = x @ (weight - made.weight()).T
    expected = np.linalg.norm(lost) / np.linalg.norm(x @ weight.T)
    assert output_error(weight, made, x.T @ x / len(x)) == pytest.approx(expected, rel=RTOL)


@pytest.mark.parametrize("alive", [0, 1, 5])
def test_inputs_that_never_fire(alive: int) -> None:
    """Second moments without full rank: what is seen is kept, and all of it at full rank."""
    weight, seen = random(6, 9), random(alive, 9, seed=1)
    moments = seen.T @ seen / 9
    found = decompose(weight, Method.SVD, moments)
    assert weight_error(weight, found.truncate(found.full)) < 1e-12
    if alive:
        assert output_error(weight, found.truncate((alive,)), moments) < 1e-5


def test_channels_in_between_weigh_the_same_on_both_sides() -> None:
    ((first, last),) = decompose(random(12, 9), Method.SVD).truncate((5,)).branches
    sizes = np.linalg.norm(first.weight, axis=1), np.linalg.norm(last.weight, axis=0)
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=RTOL)
