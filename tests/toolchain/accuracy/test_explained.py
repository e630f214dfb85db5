"""Explained variance does not depend on units, and is not fooled."""

import numpy as np
import pytest
from hwc.toolchain.accuracy.explained import Explained, Unexplained
from hwc.toolchain.accuracy.measure import Measure
from hwc.toolchain.engine import Array
from hypothesis import given
from hypothesis import strategies as st


def value(measure: Measure, outputs: Array, reference: Array) -> float:
    """The figure of samples along the first axis (each keeps a batch axis of one)."""
    tallies = [measure.tally(o[None], r[None]) for o, r in zip(outputs, reference, strict=True)]
    return float(measure.finish(np.sum(tallies, axis=0)[None])[0])


def test_explained_is_the_mean_over_channels() -> None:
    """Noise of a tenth of the variance in one of two channels leaves 95 %."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(4000, 2)) * (1, 100) + (5, -3)
    noise = rng.normal(size=4000) * np.sqrt(0.1)
    output = reference.copy()
    output[:, 0] += noise
    assert value(Explained(-1, 2), output, reference) == pytest.approx(0.95, abs=0.003)
    output[:, 1] += noise * 100
    assert value(Explained(-1, 2), output, reference) == pytest.approx(0.90, abs=0.006)
    assert value(Unexplained(Explained(-1, 2)), output, reference) == pytest.approx(0.1, abs=0.006)


@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_explained_does_not_depend_on_the_unit(scale: float, shift: float) -> None:
    """Scaling and shifting both outputs changes nothing."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(50, 3))
    output = reference + rng.normal(size=(50, 3)) * 0.1
    moved = value(Explained(-1, 3), (output + shift) * scale, (reference + shift) * scale)
    assert moved == pytest.approx(value(Explained(-1, 3), output, reference), rel=1e-6)


def test_explained_without_variance() -> None:
    """Constant outputs are compared by their energy; dead channels are left out."""
    constant = np.full((5, 1), 3.0)
    assert value(Explained(-1, 1), constant, constant) == 1.0
    assert value(Explained(-1, 1), constant * 1.1, constant) == pytest.approx(0.99)
    assert value(Explained(-1, 1), constant, constant * 0) == 0.0
    dead = np.random.default_rng(0).normal(size=(100, 2)) * [1, 0]
    assert value(Explained(-1, 2), dead, dead) == 1.0


def test_one_unit() -> None:
    """In an embedding a channel that hardly varies hardly counts."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(500, 2)) * [1, 1e-3] + [5, -5]
    output = reference + np.array([0, 1e-3])
    assert value(Explained(-1, 2), output, reference) == pytest.approx(0.5, abs=0.05)
    together = value(Explained(-1, 2, one_unit=True), output, reference)
    assert together == pytest.approx(1.0, abs=1e-5)
    moved = output + np.array([1, 0])
    assert value(Explained(-1, 2, one_unit=True), moved, reference) < 0.1


def test_channels_of_feature_maps() -> None:
    """Rank 4 has its channels on axis 1."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(3, 2, 8, 8))
    output = reference.copy()
    output[:, 0] = reference[:, 0].mean()
    assert value(Explained(1, 2), output, reference) == pytest.approx(0.5, abs=0.02)


def test_one_nan_among_many_values_spoils_all() -> None:
    """A mean over channels would hide it."""
    reference = np.random.default_rng(0).normal(size=(50, 100))
    output = reference.copy()
    output[7, 3] = np.nan
    assert value(Explained(-1, 100), output, reference) == 0.0


def test_infinite_where_the_original_is() -> None:
    """A mask of minus infinity in the original is no fault."""
    reference = np.random.default_rng(0).normal(size=(5, 4))
    reference[:, 2] = -np.inf
    assert value(Explained(-1, 4), reference.copy(), reference) == 1.0
