"""What a goal prefers: plans that were built, then limits, then the objective."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hwc.toolchain.search.goal import Goal, Trial, figures_of
from hwc.toolchain.search.problem import Limits, Objective


def trial(loss: float, us: float = 1.0, size: int = 1, number: int = 0) -> Trial:
    return Trial(number, (0,), loss, us, size, "test")


SUM = ((Objective.LATENCY, 0.5, 10.0), (Objective.DROP, 2.0, 0.1))


@pytest.mark.parametrize(
    ("goal", "better", "worse"),
    [
        pytest.param(Goal(), trial(0.1, 9.0), trial(0.2, 1.0), id="least loss"),
        pytest.param(Goal(), trial(0.1, 1.0), trial(0.1, 2.0), id="of equal loss the faster"),
        pytest.param(Goal(), trial(-0.1), trial(0.0), id="a loss may be below 0"),
        pytest.param(
            Goal(Limits(drop=0.1), Objective.LATENCY),
            trial(0.1, 9.0),
            trial(0.2, 1.0),
            id="limits come first",
        ),
        pytest.param(
            Goal(Limits(drop=0.1), Objective.LATENCY),
            trial(0.2, 9.0),
            trial(0.3, 1.0),
            id="over the limit, the nearest",
        ),
        pytest.param(
            Goal(Limits(size=10), Objective.LATENCY),
            trial(0.5, 9.0, 10),
            trial(0.1, 1.0, 11),
            id="limit on the size",
        ),
        pytest.param(
            Goal(Limits(energy_uj=10), Objective.LATENCY),
            replace(trial(0.5, 9.0), uj=10.0),
            replace(trial(0.1, 1.0), uj=11.0),
            id="limit on the energy",
        ),
        pytest.param(
            Goal(objective=Objective.ENERGY),
            replace(trial(0.5, 9.0), uj=1.0),
            replace(trial(0.1, 1.0), uj=2.0),
            id="least energy",
        ),
        pytest.param(Goal(weights=SUM), trial(0.1, 40.0), trial(0.2, 39.0), id="weighted sum"),
        pytest.param(
            Goal(objective=Objective.LATENCY),
            trial(9.0, 2.0),
            trial(inf, 1.0),
            id="what was not built is worst",
        ),
        pytest.param(
            Goal(weights=((Objective.DROP, 0.0, 1.0), (Objective.LATENCY, 1.0, 1.0))),
            trial(9.0, 2.0),
            trial(inf, 1.0),
            id="what was not built is worst, of no weight",
        ),
    ],
)
def test_prefers(goal: Goal, better: Trial, worse: Trial) -> None:
    assert goal.key(better) < goal.key(worse)
    assert goal.ranked([worse, better, worse]) == [better, worse, worse]


def test_a_weighted_sum_counts_units() -> None:
    goal = Goal(weights=SUM)
    assert goal.value(trial(0.3, 40.0)) == pytest.approx(0.5 * 4.0 + 2.0 * 3.0)
    assert goal.slope == pytest.approx(20.0)


@pytest.mark.parametrize(("objective", "slope"), [(Objective.DROP, 1.0), (Objective.SIZE, 0.0)])
def test_the_slope_of_one_objective(objective: Objective, slope: float) -> None:
    assert Goal(objective=objective).slope == slope


def test_excess_is_a_fraction_of_each_limit() -> None:
    goal = Goal(Limits(drop=0.1, latency_us=10.0, size=100))
    assert goal.excess(trial(0.1, 10.0, 100)) == 0.0
    assert goal.excess(trial(0.2, 15.0, 110)) == pytest.approx(1.6, abs=1e-4)
    assert goal.excess(trial(inf)) == inf


def test_equals_keep_their_order() -> None:
    trials = [trial(loss, number=i) for i, loss in enumerate([0.2, 0.1, 0.2, 0.1])]
    assert [t.number for t in Goal().ranked(trials)] == [1, 3, 0, 2]


def test_the_order_is_that_of_the_keys() -> None:
    rng = np.random.default_rng(1)
    goal = Goal(Limits(drop=0.5, latency_us=5.0), weights=SUM)
    trials = [
        trial(float(rng.choice([rng.random(), inf])), float(rng.random() * 9), 1, i)
        for i in range(50)
    ]
    assert goal.ranked(trials) == sorted(trials, key=goal.key)
    assert list(goal.order(figures_of(trials))) == [t.number for t in goal.ranked(trials)]


def test_nothing_to_rank() -> None:
    assert Goal().ranked([]) == []
    assert not np.isnan(Goal().key(trial(inf))).any()
