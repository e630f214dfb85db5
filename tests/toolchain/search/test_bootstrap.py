"""Intervals that hold at once: as often as they say, also where losses are skewed."""

import numpy as np
import pytest
from hwc.toolchain.search.bootstrap import simultaneous

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("count", [1, 16])
@pytest.mark.parametrize("skew", [0.3, 1.0], ids=["even", "skewed"])
def test_all_hold_in_about_95_of_100_cases(count: int, skew: float) -> None:
    runs, n = 300, 200
    rng = np.random.default_rng(count)
    truth = np.exp(skew**2 / 2)
    held = 0
    for _ in range(runs):
        shared, own = rng.standard_normal(n), rng.standard_normal((count, n))
        samples = np.exp(skew * (0.6 * shared + 0.8 * own))  # correlated, as losses of plans are
        low, high = simultaneous(samples, rng, resamples=300)
        held += bool(((low <= truth) & (truth <= high)).all())
    assert 0.90 <= held / runs <= 0.985


def test_one_mean_has_the_interval_of_student() -> None:
    samples = RNG.standard_normal((1, 400)) + 3.0
    low, high = simultaneous(samples, np.random.default_rng(1))
    half = 1.966 * samples.std(ddof=1) / 20.0
    assert low[0] == pytest.approx(samples.mean() - half, abs=0.02)
    assert high[0] == pytest.approx(samples.mean() + half, abs=0.02)


def test_more_means_need_wider_bounds() -> None:
    samples = RNG.standard_normal((30, 300))
    alone = simultaneous(samples[:1], np.random.default_rng(1))
    together = simultaneous(samples, np.random.default_rng(1))
    assert together[0][0] < alone[0][0]
    assert together[1][0] > alone[1][0]


def test_the_same_seed_gives_the_same_bounds() -> None:
    samples = RNG.standard_normal((3, 50))
    one, other = (simultaneous(samples, np.random.default_rng(1)) for _ in range(2))
    assert (np.array(one) == np.array(other)).all()


@pytest.mark.parametrize(
    ("row", "bounds"),
    [
        pytest.param([0.0] * 8, (0.0, 0.0), id="all 0"),
        pytest.param([0.3] * 8, (-np.inf, np.inf), id="all alike"),
        pytest.param([0.3], (-np.inf, np.inf), id="one sample"),
        pytest.param([0.0], (0.0, 0.0), id="one sample of 0"),
    ],
)
def test_samples_without_spread(row: list[float], bounds: tuple[float, float]) -> None:
    low, high = simultaneous(np.array([row]), np.random.default_rng(1))
    assert (low[0], high[0]) == bounds


def test_one_sample_that_differs_proves_nothing() -> None:
    samples = np.zeros((1, 500))
    samples[0, 3] = -1.0
    low, high = simultaneous(samples, np.random.default_rng(1))
    assert low[0] < -0.002
    assert high[0] > 0.0


def test_a_row_without_spread_leaves_the_others_alone() -> None:
    samples = RNG.standard_normal((2, 100))
    samples[1] = 0.0
    low, high = simultaneous(samples, np.random.default_rng(1))
    alone = simultaneous(samples[:1], np.random.default_rng(1))
    assert (low[0], high[0]) == (alone[0][0], alone[1][0])
