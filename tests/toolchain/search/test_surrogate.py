"""What is believed of losses: better than the sum of sensitivities, whatever is measured."""

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import pytest
from hwc.toolchain.search.problem import Floats
from hwc.toolchain.search.surrogate import Surrogate

MakeCoupled = Callable[..., Any]


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's, of figures without ties."""
    first, second = (np.argsort(np.argsort(x)) for x in (a, b))
    return float(np.corrcoef(first, second)[0, 1])


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e4], ids=["same unit", "smaller", "larger"])
@pytest.mark.parametrize("seed", range(4))
def test_ranks_unseen_plans_better_than_the_sum(
    coupled: MakeCoupled, *, seed: int, unit: float
) -> None:
    subject = coupled(seed, 9)
    plans = np.random.default_rng(seed).permutation(subject.feasible())
    seen, unseen = plans[:60], plans[60:400]
    truth, sums = subject.losses(unseen), np.nan_to_num(subject.problem.drops)
    model = Surrogate.fit(subject.problem.drops * unit, seen, subject.losses(seen))
    added = rank_correlation(sums[np.arange(9), unseen].sum(axis=1), truth)
    assert rank_correlation(model.predict(unseen), truth) > max(0.95, added + 0.02)


def test_knows_what_it_saw(coupled: MakeCoupled) -> None:
    subject = coupled(1, 9)
    seen = np.random.default_rng(1).permutation(subject.feasible())[:60]
    model = Surrogate.fit(subject.problem.drops, seen, subject.losses(seen))
    missed = np.abs(model.predict(seen) - subject.losses(seen))
    assert missed.max() < 0.1 * subject.losses(seen).mean()


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param([0.0] * 6, id="all 0"),
        pytest.param([inf] * 6, id="none could be built"),
        pytest.param([0.1, inf, 0.2, inf, 0.1, 0.3], id="some could not be built"),
        pytest.param([-0.1, 0.0, 0.1, -0.2, 0.3, 0.0], id="some below 0"),
        pytest.param([1e-12, 1.0, 1e6, 1e-6, 1e-3, 1e3], id="many orders of magnitude"),
    ],
)
@pytest.mark.parametrize("sensitivity", ["measured", "zero"])
def test_any_losses_do(coupled: MakeCoupled, losses: list[float], sensitivity: str) -> None:
    subject = coupled(1)
    plans = np.random.default_rng(1).permutation(subject.feasible())[:16]
    table = subject.problem.drops * (1.0 if sensitivity == "measured" else 0.0)
    model = Surrogate.fit(table, plans[:6], np.array(losses))
    assert np.isfinite(model.predict(plans)).all()


def test_learns_without_sensitivities(coupled: MakeCoupled) -> None:
    subject = coupled(1, 9)
    plans = np.random.default_rng(1).permutation(subject.feasible())
    seen, unseen = plans[:80], plans[80:400]
    model = Surrogate.fit(np.zeros_like(subject.problem.drops), seen, subject.losses(seen))
    assert rank_correlation(model.predict(unseen), subject.losses(unseen)) > 0.7


def test_avoids_a_choice_that_cannot_be_built(coupled: MakeCoupled) -> None:
    subject = coupled(1, 9)
    plans = np.random.default_rng(1).permutation(subject.feasible())
    slot = int(np.argmax([len(np.unique(column)) for column in plans.T]))
    losses = np.where(plans[:, slot] == 1, inf, subject.losses(plans))
    model = Surrogate.fit(subject.problem.drops, plans[:60], losses[:60])
    predicted, broken = model.predict(plans[60:]), np.isinf(losses[60:])
    assert predicted[broken].mean() > 2.0 * predicted[~broken].mean()
