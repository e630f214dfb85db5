"""Evolution: better than chance and than the solver, where losses do not add up."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hwc.toolchain.search.evolution import Evolution
from hwc.toolchain.search.exact import Exact
from hwc.toolchain.search.proposals import Proposals
from hwc.toolchain.search.random_search import Random

MakeCoupled = Callable[..., Any]


@pytest.mark.parametrize("seed", [1, 3, 4])
def test_finds_the_best_of_all_plans(coupled: MakeCoupled, seed: int) -> None:
    subject = coupled(seed)
    ledger = subject.ledger(160)
    Evolution().explore(ledger, np.random.default_rng(1))
    assert ledger.best
    assert ledger.best.loss == pytest.approx(subject.least())


def test_is_better_than_chance_and_than_the_solver(coupled: MakeCoupled) -> None:
    ratios = []
    for seed in (1, 3, 10, 11):
        subject = coupled(seed, 9)
        best = []
        for explorer in (Evolution(), Random(), Proposals(Exact())):
            ledger = subject.ledger(80)
            explorer.explore(ledger, np.random.default_rng(2))
            assert ledger.best
            best.append(ledger.best.loss)
        ratios.append(best[0] / np.array(best[1:]))
    assert (np.exp(np.mean(np.log(ratios), axis=0)) < 0.95).all()


def test_never_loses_what_it_started_from(coupled: MakeCoupled) -> None:
    subject = coupled(3, 9)
    (exact,) = Exact().propose(subject.problem)
    ledger = subject.ledger(40)
    Evolution().explore(ledger, np.random.default_rng(1))
    assert ledger.trials[0].indices == exact.indices
    assert ledger.best
    assert ledger.best.loss <= ledger.trials[0].loss
