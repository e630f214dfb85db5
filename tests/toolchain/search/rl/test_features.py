"""What a policy sees of a problem before the first choice."""

from collections.abc import Callable
from dataclasses import replace
from math import log, log1p

import numpy as np
import pytest
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.latency.wiring import FORMATS
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.search.problem import Problem
from hwc.toolchain.search.rl.features import (
    CHOICE_COLUMNS,
    K_MAX,
    LIMIT,
    SLOT_COLUMNS,
    TIME_COLUMNS,
    Features,
)
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work

MakeProblem = Callable[..., Problem]
FP32, INT8 = NodeChoice(), NodeChoice(Precision.INT8)


def slot(name: str, kind: str, work: Work, *choices: NodeChoice) -> Slot:
    return Slot(name, "Op", ((name,),), (), (), (), name, kind, work, choices)


@pytest.fixture
def problem() -> Problem:
    """A convolution, then an addition that stays in fp32."""
    graph = SlotGraph(
        (
            slot("a", "conv", Work(8000, 80, 400, 100), FP32, INT8),
            slot("b", "elementwise", Work(0, 0, 200, 100), FP32),
        ),
        (Edge("x", -1, (0,), 400), Edge("a", 0, (1,), 100), Edge("y", 1, (), 100, is_output=True)),
    )
    node_us = np.array([[30.0, 10.0], [8.0, np.inf]])
    boundary_us = np.zeros((3, len(FORMATS), len(FORMATS)))
    boundary_us[0, 0, 3], boundary_us[1, 3, 0] = 4.0, 2.0
    node_source, source = (np.full(a.shape, Origin.MEASURED) for a in (node_us, boundary_us))
    cost = CostModel(graph, node_us, boundary_us, node_source, source, fixed_us=2.0)
    drops = np.array([[0.0, 0.5], [0.0, np.nan]])
    return Problem(cost, np.array([[320, 80], [0, 0]]), drops)


def named(columns: tuple[str, ...], row: np.ndarray) -> dict[str, float]:
    return dict(zip(columns, row.tolist(), strict=True))


def test_shapes_and_names(random_problem: MakeProblem) -> None:
    features = Features.of(random_problem(1, 7))
    assert features.slots.shape == (7, len(SLOT_COLUMNS))
    assert features.choices.shape == (7, K_MAX, len(CHOICE_COLUMNS))
    assert features.times.shape == (7, K_MAX, len(TIME_COLUMNS))
    timed = features.timed(5.0)
    assert timed.shape == (7, K_MAX, len(CHOICE_COLUMNS) + len(TIME_COLUMNS))
    for array in (features.slots, features.choices, timed):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
        assert np.abs(array).max() <= LIMIT
    names = (*SLOT_COLUMNS, *CHOICE_COLUMNS, *TIME_COLUMNS)
    assert len(set(names)) == len(names)


def test_what_is_seen_of_slots(problem: Problem) -> None:
    conv, add = (named(SLOT_COLUMNS, row) for row in Features.of(problem).slots)
    assert conv["kind_conv"] == add["kind_elementwise"] == 1.0
    assert conv["kind_elementwise"] == 0.0
    assert conv["log_reuse"] == pytest.approx(log1p(100.0) / 4.0)
    assert conv["log_fan_in"] == pytest.approx(log1p(80.0) / 4.0)
    assert conv["log_shrink"] == pytest.approx(log(4.0) / 2.0)
    assert conv["macs_share"] == pytest.approx(log1p(2.0))
    assert conv["time_share"] == pytest.approx(log1p(30.0 / 20.0))
    assert (conv["position"], add["position"]) == (0.0, 1.0)
    assert (conv["reads_input"], conv["writes_output"]) == (1.0, 0.0)
    assert (add["reads_input"], add["writes_output"]) == (0.0, 1.0)
    assert conv["readers"] == add["producers"] == pytest.approx(log1p(1.0))
    assert (conv["fixed_choice"], add["fixed_choice"]) == (0.0, 1.0)
    assert conv["log_ratio_int8"] == add["log_ratio_int8"] == pytest.approx(log(18.0 / 38.0))
    assert conv["log_ratio_fp16"] == 0.0


def test_what_is_seen_of_choices(problem: Problem) -> None:
    features = Features.of(problem)
    fp32, int8 = (named(CHOICE_COLUMNS, row) for row in features.choices[0, :2])
    assert (fp32["format_fp32"], int8["format_int8"]) == (1.0, 1.0)
    assert (fp32["weight_bits"], int8["weight_bits"], int8["activation_bits"]) == (1.0, 0.25, 0.25)
    assert (fp32["log_time"], fp32["saves"], int8["saves"]) == (0.0, 0.0, 1.0)
    assert int8["log_time"] == pytest.approx(log(10.0 / 30.0))
    assert int8["log_saving"] == pytest.approx(log(20.0 / 20.0) / 2.0)
    assert int8["log_sensitivity"] == pytest.approx(0.0)
    assert fp32["log_sensitivity"] < int8["log_sensitivity"]
    assert int8["log_size"] == pytest.approx(log(81.0 / 321.0))
    assert (features.choices[0, 2:] == 0.0).all()
    assert (features.choices[1, 1:] == 0.0).all()


def test_what_is_seen_of_times_is_relative_to_the_budget(problem: Problem) -> None:
    features = Features.of(problem)
    for budget in (20.0, 40.0):
        timed = features.timed(budget)[:, :, len(CHOICE_COLUMNS) :]
        fair = budget / 2
        fp32, int8 = (named(TIME_COLUMNS, row) for row in timed[0, :2])
        assert int8["time"] == pytest.approx(log1p(10.0 / fair))
        assert int8["from_fp32"] == pytest.approx(log1p(4.0 / fair))
        assert int8["into_fp32"] == pytest.approx(log1p(2.0 / fair))
        assert int8["from_int8"] == int8["into_int8"] == fp32["from_fp32"] == 0.0


def test_what_is_not_known_is_flagged(problem: Problem) -> None:
    unknown = Features.of(replace(problem, sensitivity=None))
    known = Features.of(problem, sqnr=np.array([[np.nan, 32.0], [np.nan, np.nan]]))
    fp32, int8 = (named(CHOICE_COLUMNS, row) for row in known.choices[0, :2])
    assert (int8["sqnr"], int8["sqnr_known"], int8["sensitivity_known"]) == (0.5, 1.0, 1.0)
    assert (fp32["sqnr"], fp32["sqnr_known"]) == (0.0, 0.0)
    row = named(CHOICE_COLUMNS, unknown.choices[0, 1])
    assert (row["log_sensitivity"], row["sensitivity_known"], row["sqnr_known"]) == (0.0, 0.0, 0.0)
    assert named(SLOT_COLUMNS, unknown.slots[0])["sensitivities_known"] == 0.0


def test_depth_does_not_show_but_as_a_logarithm(random_problem: MakeProblem) -> None:
    for slots in (1, 4, 12):
        columns = named(SLOT_COLUMNS, Features.of(random_problem(1, slots)).slots[-1])
        assert columns["log_slots"] == pytest.approx(log(slots) / 4.0)
        assert columns["position"] == (0.0 if slots == 1 else 1.0)


def test_more_choices_than_a_policy_sees_are_refused(problem: Problem) -> None:
    us = np.full((2, K_MAX + 1), np.inf)
    us[:, :2] = problem.cost.node_us
    source = np.full(us.shape, Origin.MEASURED)
    wide = replace(problem.cost, node_us=us, node_source=source)
    with pytest.raises(ValueError, match="9 choices"):
        Features.of(Problem(wide, np.zeros(us.shape, np.int64)))


def test_no_slots() -> None:
    empty = np.zeros((0, 1))
    text = empty.astype(str)
    cost = CostModel(SlotGraph((), ()), empty, np.zeros((0, 4, 4)), text, np.zeros((0, 4, 4), str))
    features = Features.of(Problem(cost, empty.astype(np.int64)))
    assert features.slots.shape == (0, len(SLOT_COLUMNS))
