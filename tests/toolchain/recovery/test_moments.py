"""Sums that stand for samples: errors and biases are those of the samples themselves."""

import numpy as np
import pytest
from hwc.toolchain.recovery.moments import Moments
from hwc.toolchain.recovery.unfold import Rows


@pytest.fixture
def rows() -> list[Rows]:
    """Three samples of a layer with two groups."""
    rng = np.random.default_rng(0)
    return [
        Rows(
            rng.standard_normal((2, 7, 3)).astype(np.float32) + 1,
            rng.standard_normal((2, 7, 4)).astype(np.float32),
        )
        for _ in range(3)
    ]


def test_error_is_that_of_the_samples(rows: list[Rows]) -> None:
    moments = Moments()
    for each in rows:
        moments.add(each)
    rng = np.random.default_rng(1)
    weight, bias = rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 4))
    x, y = (np.concatenate([getattr(r, n) for r in rows], 1) for n in ("read", "written"))
    errors = x @ weight.swapaxes(1, 2) + bias[:, None] - y
    assert moments.error(weight, bias) == pytest.approx((errors**2).mean(1), rel=1e-5)
    best = moments.bias(weight)
    assert (x @ weight.swapaxes(1, 2) + best[:, None] - y).mean(1) == pytest.approx(0, abs=1e-6)


def test_centred_moments_are_covariances(rows: list[Rows]) -> None:
    moments = Moments()
    for each in rows:
        moments.add(each)
    x, y = (np.concatenate([getattr(r, n) for r in rows], 1) for n in ("read", "written"))
    square, cross = moments.centred()
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    assert square == pytest.approx(x.swapaxes(1, 2) @ x / 21, abs=1e-5)
    assert cross == pytest.approx(y.swapaxes(1, 2) @ x / 21, abs=1e-5)
