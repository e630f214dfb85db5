"""Uniform plans: one precision wherever it is legal."""

from collections.abc import Callable
from dataclasses import replace

from hwc.toolchain.plan import Precision
from hwc.toolchain.search.problem import Limits, Problem
from hwc.toolchain.search.uniform import Uniform

MakeProblem = Callable[..., Problem]


def test_each_precision_once_where_it_is_legal(random_problem: MakeProblem) -> None:
    problem = random_problem(2, 8)
    wanted = {choice for slot in problem.graph.slots for choice in slot.choices}
    proposals = list(Uniform().propose(problem))
    assert len(proposals) == len(wanted)
    for choice, proposal in zip(sorted(wanted), proposals, strict=True):
        for slot, k in zip(problem.graph.slots, proposal.indices, strict=True):
            legal = choice in slot.choices
            assert slot.choices[k].precision == (choice.precision if legal else Precision.FP32)


def test_keeps_the_limits(random_problem: MakeProblem) -> None:
    problem = random_problem(2, 8)
    everything = list(Uniform().propose(problem))
    drop = sorted(p.predicted_drop or 0.0 for p in everything)[1]
    kept = list(Uniform().propose(replace(problem, limits=Limits(drop=drop))))
    assert 0 < len(kept) < len(everything)
    assert all((p.predicted_drop or 0.0) <= drop for p in kept)
