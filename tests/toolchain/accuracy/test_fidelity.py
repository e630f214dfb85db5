"""Side figures of a whole data set."""

import math

import numpy as np
import pytest
from hwc.toolchain.accuracy.fidelity import fidelity

RNG = np.random.default_rng(0)


def test_equal() -> None:
    """No noise."""
    rows = [{"y": RNG.normal(size=(1, 5)) * 9, "n": np.array([3])} for _ in range(4)]
    figures = fidelity(rows, rows)
    assert figures.sqnr_db == math.inf
    assert figures.cosine == pytest.approx(1)
    assert figures.kl == 0


def test_figures() -> None:
    """20 dB, pooled; the worst output counts; KL only of classes."""
    rows = [{"y": RNG.normal(size=(1, 2000)), "z": RNG.normal(size=(1, 3, 3))} for _ in range(4)]
    noisy = [{"y": r["y"] + 0.1 * RNG.normal(size=(1, 2000)), "z": r["z"]} for r in rows]
    figures = fidelity(noisy, rows)
    assert figures.sqnr_db == pytest.approx(20, abs=0.3)
    assert figures.cosine == pytest.approx(1 / math.sqrt(1.01), abs=1e-3)
    assert figures.kl is None


@pytest.mark.parametrize("bad", [np.full((1, 3), np.nan), np.zeros((1, 4))], ids=["nan", "shape"])
def test_broken(bad: np.ndarray) -> None:
    """What cannot be compared is infinitely far."""
    figures = fidelity([{"y": bad}], [{"y": np.ones((1, 3))}])
    assert figures.sqnr_db == -math.inf
    assert figures.cosine == 0
