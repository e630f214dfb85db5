"""Energy tables: as kernels are estimated one by one, and with the times that were measured."""

from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.device import load_profile
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.latency.energy import energy_joules, work_joules
from hwc.toolchain.latency.energy_table import energy_table
from hwc.toolchain.latency.forecast import Ask, forecast
from hwc.toolchain.latency.fused import fused
from hwc.toolchain.latency.prices import from_profile
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work

DEVICE = load_profile("jetson_agx_orin").in_mode("15W")
FP32, INT8 = NodeChoice(), NodeChoice(Precision.INT8)
CONV = Work(macs=115_605_504, weights=36_864, reads=200_704, writes=200_704)
ADD = Work(macs=200_704, weights=0, reads=401_408, writes=200_704)
VIEW = Work(macs=0, weights=0, reads=200_704, writes=200_704)


def slot(name: str, op: str, kind: str, work: Work, *choices: NodeChoice) -> Slot:
    """A slot that writes the tensor of its own name."""
    return Slot(name, op, ((name,),), (), (), (name,), name, kind, work, choices)


GRAPH = SlotGraph(
    (
        slot("a", "Conv", "conv", CONV, FP32, INT8),
        slot("b", "Add", "elementwise", ADD, FP32, INT8),
        slot("c", "Reshape", "move", VIEW, FP32),
    ),
    (
        Edge("a", 0, (1,), 200_704),
        Edge("b", 1, (2,), 200_704),
        Edge("c", 2, (), 200_704, is_output=True),
    ),
)
COST = from_profile(GRAPH, DEVICE).cost


def table_of(cost: CostModel = COST) -> np.ndarray:
    """The table on the device."""
    table = energy_table(cost, DEVICE)
    assert table is not None
    return table


def watts() -> tuple[float, float]:
    """What the device draws while it waits, and its budget."""
    assert DEVICE.power is not None
    assert DEVICE.budget is not None
    return DEVICE.power.idle_watts.value, DEVICE.budget.value


def test_a_kernel_of_its_own_takes_what_is_estimated_of_it() -> None:
    joules = [energy_joules(CONV, "conv", choice, DEVICE) for choice in (FP32, INT8)]
    assert table_of()[0] == pytest.approx([found.joules * 1e6 for found in joules if found])
    assert table_of()[0, 1] < table_of()[0, 0]


def test_a_measured_time_takes_the_place_of_the_estimate() -> None:
    idle, budget = watts()
    slow, fast = COST.node_us.copy(), COST.node_us.copy()
    slow[0, 0], fast[0, 0] = 1e6, 1e-3
    spent = work_joules(CONV, "conv", FP32, DEVICE) * 1e6
    assert table_of(replace(COST, node_us=slow))[0, 0] == pytest.approx(idle * 1e6 + spent)
    assert table_of(replace(COST, node_us=fast))[0, 0] == pytest.approx(budget * 1e-3)


def test_what_is_fused_moves_only_what_is_left() -> None:
    idle, _ = watts()
    left = fused(GRAPH)[1]
    assert left.reads < ADD.reads
    spent = work_joules(left, "elementwise", FP32, DEVICE) * 1e6
    assert table_of()[1, 0] == pytest.approx(idle * COST.node_us[1, 0] + spent)


def test_a_view_takes_nothing_and_no_choice_is_infinite() -> None:
    assert table_of()[2].tolist() == [0.0, np.inf]


def test_conversions_are_all_that_a_forecast_adds() -> None:
    graph = SlotGraph(GRAPH.slots[:1], (Edge("a", 0, (), 200_704, is_output=True),))
    prices = from_profile(graph, DEVICE)
    found = forecast(Ask("int8", np.array([1])), prices, DEVICE, ())
    assert found.energy is not None
    assert found.conversions_us > 0.0
    kernels = energy_table(prices.cost, DEVICE)
    assert kernels is not None
    rest = watts()[0] * found.conversions_us
    assert found.energy.joules * 1e6 == pytest.approx(kernels[0, 1] + rest)


def test_of_a_large_table_only_what_is_looked_up_counts() -> None:
    small = Work(macs=0, weights=768, reads=1, writes=768)
    large = replace(small, weights=768 * 30_000)
    one, other = (work_joules(work, "move", FP32, DEVICE) for work in (small, large))
    assert one == other


def test_without_a_power_model_there_is_no_table() -> None:
    assert energy_table(COST, replace(DEVICE, power=None)) is None
    with pytest.raises(ValueError, match="nothing about power"):
        work_joules(CONV, "conv", FP32, replace(DEVICE, power=None))
