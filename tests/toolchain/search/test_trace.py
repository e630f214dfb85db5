"""Traces: what a search leaves behind, and that it is read back exactly."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.search.goal import Goal, Trial
from hwc.toolchain.search.ledger import Ledger
from hwc.toolchain.search.problem import Limits, Objective, Problem
from hwc.toolchain.search.trace import Trace
from hypothesis import given
from hypothesis import strategies as st

FIGURE = st.floats(allow_nan=False, allow_infinity=True)
POSITIVE = st.floats(0.0, exclude_min=True, allow_infinity=True)
TRIALS = st.builds(
    Trial,
    number=st.integers(0, 10**6),
    indices=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    loss=FIGURE,
    us=FIGURE,
    size=st.integers(0, 2**62),
    strategy=st.text(),
    uj=st.none() | FIGURE,
)
GOALS = st.builds(
    Goal,
    limits=st.builds(Limits, drop=POSITIVE, latency_us=POSITIVE, size=POSITIVE, energy_uj=POSITIVE),
    objective=st.sampled_from(Objective),
    weights=st.lists(st.tuples(st.sampled_from(Objective), FIGURE, FIGURE), max_size=3).map(tuple),
)


def trace(*figures: tuple[float, float, int], goal: Goal | None = None) -> Trace:
    """Trials with these losses, latencies and sizes."""
    trials = tuple(Trial(i, (i,), *each, "test") for i, each in enumerate(figures))
    return Trace("test", 0, 9, goal or Goal(), ("s0",), trials)


@given(goal=GOALS, trials=st.lists(TRIALS, max_size=4), name=st.text(), seconds=st.floats(0.0, 1e9))
def test_json_is_read_back_exactly(
    *, goal: Goal, trials: list[Trial], name: str, seconds: float
) -> None:
    found = Trace(name, 3, 160, goal, ("a", "b"), tuple(trials), seconds)
    text = found.to_json()
    assert Trace.from_json(text) == found
    assert Trace.from_json(text).to_json() == text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"budget":9', '"budget":"9"', "Trace.budget"),
        ('"objective":"drop"', '"objective":"beauty"', "not one of latency, size, drop, energy"),
        ('"slots":["s0"]', '"slots":"s0"', "Trace.slots"),
        ('"seed":0,', "", "lacks the key 'seed'"),
        ('"weights":[]', '"weights":[["drop",1.0]]', "has 2 items, not 3"),
        ("{", "[", "not JSON"),
    ],
)
def test_what_is_no_trace_is_refused(old: str, new: str, message: str) -> None:
    text = trace((0.1, 1.0, 1)).to_json()
    assert old in text
    with pytest.raises(InputError, match=message):
        Trace.from_json(text.replace(old, new, 1))


def test_csv_has_a_row_for_each_trial() -> None:
    found = replace(trace((0.1, 1.5, 7), (inf, 2.0, 8)), slots=("a,b\n",))
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert [row.pop("a,b\n") for row in rows] == ["0", "1"]
    assert rows[0] == {
        "number": "0",
        "strategy": "test",
        "loss": "0.1",
        "latency_us": "1.5",
        "size_bytes": "7",
        "energy_uj": "",  # not known
    }
    assert float(rows[1]["loss"]) == inf


def test_csv_keeps_every_digit(random_problem: Callable[..., Problem]) -> None:
    problem = random_problem(1, 4)
    ledger = Ledger(problem, lambda plans: [1.0 / 3.0] * len(plans), 2)
    ledger.score(np.zeros((1, 4), np.intp), "a")
    (row,) = csv.DictReader(io.StringIO(Trace.of(ledger, "a", 1, 0.5).to_csv()))
    assert float(row["loss"]) == 1.0 / 3.0
    assert float(row["latency_us"]) == ledger.trials[0].us
    assert float(row["energy_uj"]) == ledger.trials[0].uj


def test_of_a_ledger(random_problem: Callable[..., Problem]) -> None:
    problem = random_problem(1, 4)
    ledger = Ledger(problem, lambda plans: [0.5] * len(plans), 7)
    ledger.score(np.zeros((1, 4), np.intp), "a")
    found = Trace.of(ledger, "rl", 3, 1.5)
    assert (found.strategy, found.seed, found.budget, found.seconds) == ("rl", 3, 7, 1.5)
    assert found.slots == tuple(slot.name for slot in problem.graph.slots)
    assert found.trials == tuple(ledger.trials)
    assert found.best == ledger.best


def test_the_curve_counts_only_what_is_within_the_limits() -> None:
    goal = Goal(Limits(latency_us=10.0))
    found = trace(
        (0.1, 20.0, 1), (0.5, 10.0, 1), (0.7, 1.0, 1), (0.2, 9.0, 1), (inf, 1.0, 1), goal=goal
    )
    assert found.curve() == [inf, 0.5, 0.5, 0.2, 0.2]
    assert found.best == found.trials[3]
    assert trace().best is None


def test_the_pareto_set_is_what_nothing_beats() -> None:
    found = trace(
        (0.5, 1.0, 5),  # the fastest
        (0.5, 2.0, 5),  # beaten by the first
        (0.1, 3.0, 9),
        (0.3, 3.0, 9),  # as fast as the one before, but loses more
        (0.4, 4.0, 1),  # the smallest
        (0.1, 3.0, 9),  # the third again
        (inf, 0.5, 1),  # was not built
    )
    assert [trial.number for trial in found.pareto()] == [0, 2, 4]


def test_the_pareto_set_against_brute_force() -> None:
    rng = np.random.default_rng(2)
    figures = rng.integers(0, 4, (60, 4))
    rows = enumerate(figures.tolist())
    trials = tuple(Trial(i, (i,), loss, us, size, "test", uj) for i, (loss, us, size, uj) in rows)
    found = replace(trace(), trials=trials)
    beaten = [
        any((other <= each).all() and (other < each).any() for other in figures) for each in figures
    ]
    best = {tuple(each) for each, worse in zip(figures, beaten, strict=True) if not worse}
    assert [(t.loss, t.us, t.size, t.uj) for t in found.pareto()] == sorted(
        best, key=lambda f: (f[1], f[0], f[2], f[3])
    )
