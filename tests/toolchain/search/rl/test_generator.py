"""Problems that are drawn for training."""

import numpy as np
import pytest
from hwc.toolchain.device import profile_names
from hwc.toolchain.search.problem import SLACK, Objective, Problem
from hwc.toolchain.search.rl.generator import Generator, draw_limits, latency_range, within_share
from hwc.toolchain.search.rl.networks import Family
from hwc.toolchain.search.rl.opening import opening

SEEDS = range(30)


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return [problem for problem, _ in Generator.of().problems(SEEDS)]


def test_the_same_seed_gives_the_same_problem() -> None:
    one, two = Generator.of().problem(3), Generator.of().problem(3)
    assert one.graph == two.graph
    assert np.array_equal(one.cost.node_us, two.cost.node_us)
    assert np.array_equal(one.cost.boundary_us, two.cost.boundary_us)
    assert np.array_equal(one.drops, two.drops, equal_nan=True)


def test_every_device_is_drawn_in_every_power_mode() -> None:
    devices = {(p.name, p.power_mode) for p in Generator.of()._modes}  # noqa: SLF001 - the pool
    assert {name for name, _ in devices} == set(profile_names())
    assert ("jetson_orin_nano", "7W") in devices
    assert ("jetson_orin_nano", "") not in devices


def test_most_problems_have_something_to_trade(problems: list[Problem]) -> None:
    assert len(problems) > 0.8 * len(SEEDS)
    for problem in problems:
        least, most = latency_range(problem)
        assert 0.0 < least < most
        assert problem.legal.any(axis=1).all()
        assert problem.objective is Objective.DROP


def test_a_share_of_the_way_is_a_limit_on_latency(problems: list[Problem]) -> None:
    for problem in problems:
        least, most = latency_range(problem)
        middle = within_share(problem, 0.5).limits.latency_us
        assert middle == pytest.approx((least + most) / 2.0)


def test_drawn_limits_can_be_kept(problems: list[Problem]) -> None:
    rng = np.random.default_rng(0)
    kinds = set()
    for problem in problems:
        limited = draw_limits(problem, rng)
        task, start = opening(limited)
        kinds.add((*task.bounds.limited, task.bounds.objective))
        totals = task.bounds.totals()[:, : len(start.limits)]
        assert (totals <= np.array(start.limits) * (1.0 + SLACK)).all(axis=1).any()
    assert len(kinds) >= 3


def test_fewer_bits_lose_more_in_the_median(problems: list[Problem]) -> None:
    ratios = [
        row[slot.choices.index(int4)] / row[slot.choices.index(int8)]
        for problem in problems
        for row, slot in zip(problem.drops, problem.graph.slots, strict=True)
        for int8 in slot.choices
        for int4 in slot.choices
        if int8.precision == "int8" and int4.precision == "int4"
        if row[slot.choices.index(int8)] > 0.0
    ]
    assert np.median(ratios) > 2.0


def test_moves_lose_nothing_and_fp32_loses_nothing(problems: list[Problem]) -> None:
    for problem in problems:
        assert not problem.drops[:, 0].any()
        for row, slot in zip(problem.drops, problem.graph.slots, strict=True):
            if slot.op in {"Reshape", "Transpose", "MaxPool"}:
                assert not row[: len(slot.choices)].any()


def test_a_family_and_a_device_can_be_asked_for() -> None:
    made = Generator.of(["a100"], [Family.ATTENTION])
    assert {p.name for p in made.profiles} == {"a100_sxm_40gb"}
    assert all(slot.op != "Conv" for slot in made.problem(1).graph.slots)


def test_measured_like_prices_differ_from_estimates_but_not_wildly() -> None:
    made = Generator.of(["a100"])
    exact = Generator(made.profiles, perturbed=False)
    measured, estimated = made.problem(5).cost.node_us, exact.problem(5).cost.node_us
    both = np.isfinite(estimated) & (estimated > 0.0)
    ratios = measured[both] / estimated[both]
    assert 0.1 < ratios.min() < 1.0 < ratios.max() < 10.0
