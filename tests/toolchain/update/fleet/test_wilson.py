"""Wilson's lower bound, and the failures that stop a rollout."""

import math

import numpy as np
import pytest
from hwc.toolchain.update.fleet.wilson import StopRule, lower_bound

Z = 1.959964


@pytest.mark.parametrize(
    ("failures", "reports", "low"),
    [
        pytest.param(0, 20, 0.0, id="none"),
        pytest.param(10, 10, 0.722467, id="all"),
        pytest.param(81, 263, 0.2553, id="Newcombe 1998, table I"),
        pytest.param(15, 148, 0.0624, id="Newcombe 1998, few"),
        pytest.param(1, 29, 0.0061, id="Newcombe 1998, one"),
    ],
)
def test_lower_bound(failures: int, reports: int, low: float) -> None:
    assert lower_bound(failures, reports, Z) == pytest.approx(low, abs=5e-5)


@pytest.mark.parametrize("z", [0.5, 1.64, 3.9])
def test_the_bound_is_the_rate_that_the_score_test_just_rejects(z: float) -> None:
    low = lower_bound(7, 90, z)
    assert 7 / 90 - low == pytest.approx(z * math.sqrt(low * (1 - low) / 90))


@pytest.mark.parametrize("tolerated", [0.005, 0.05, 0.5])
@pytest.mark.parametrize("z", [1.64, 3.889])
def test_critical_is_the_least_number_that_stops(tolerated: float, z: float) -> None:
    rule = StopRule(tolerated, z, least=3)
    reports = np.arange(1, 200)
    for n, critical in zip(reports, rule.critical(reports), strict=True):
        stopping = [k for k in range(n + 1) if rule.stops(k, int(n))]
        assert min(stopping, default=critical) == critical
        assert stopping or critical > n


def test_one_accident_stops_nothing() -> None:
    assert not StopRule(0.005, 1.0, least=2).stops(1, 1)
    assert StopRule(0.005, 1.0, least=2).stops(2, 2)
