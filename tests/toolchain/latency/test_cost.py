"""The cost model against its definition, written out slot by slot and edge by edge."""

import numpy as np
import pytest
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.latency.wiring import FORMATS, format_of
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import NodeChoice, Precision
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work
from hypothesis import given, settings
from hypothesis import strategies as st

FP32, FP16, INT8, INT4 = Precision.FP32, Precision.FP16, Precision.INT8, Precision.INT4
INDEX = {precision: i for i, precision in enumerate(FORMATS)}


def _slot(name: str, *precisions: Precision) -> Slot:
    choices = tuple(NodeChoice(precision) for precision in (FP32, *precisions))
    return Slot(name, "Conv", ((name,),), (), (), (), name, "conv", Work(1, 1, 1, 1), choices)


def _model(graph: SlotGraph, rng: np.random.Generator) -> CostModel:
    columns = max((len(slot.choices) for slot in graph.slots), default=1)
    node_us = rng.uniform(1.0, 10.0, (len(graph.slots), columns))
    for s, slot in enumerate(graph.slots):
        node_us[s, len(slot.choices) :] = np.inf
    boundary_us = rng.uniform(0.0, 5.0, (len(graph.edges), len(FORMATS), len(FORMATS)))
    return CostModel(
        graph,
        node_us,
        boundary_us,
        np.full(node_us.shape, Origin.MEASURED),
        np.full(boundary_us.shape, Origin.ESTIMATED),
        fixed_us=3.0,
    )


def _random_graph(rng: np.random.Generator, slots: int) -> SlotGraph:
    lower = np.array([p for p in Precision if p is not FP32])
    nodes = [
        _slot(f"s{i}", *(Precision(p) for p in lower[rng.random(len(lower)) < 0.6]))
        for i in range(slots)
    ]
    edges = []
    for producer in range(-1, slots):
        for copy in range(int(rng.integers(0, 3))):
            later = np.arange(producer + 1, slots)
            readers = tuple(int(s) for s in later[rng.random(len(later)) < 0.4])
            output = bool(rng.random() < 0.3)
            edges.append(Edge(f"t{producer}.{copy}", producer, readers, 10, output))
    return SlotGraph(tuple(nodes), tuple(edges))


def _price(model: CostModel, plan: list[int]) -> float:
    """The definition."""
    formats = [
        format_of(slot.choices[k].precision)
        for slot, k in zip(model.graph.slots, plan, strict=True)
    ]
    total = model.fixed_us + sum(model.node_us[s, k] for s, k in enumerate(plan))
    for e, edge in enumerate(model.graph.edges):
        produced = FP32 if edge.producer < 0 else formats[edge.producer]
        wanted = {formats[s] for s in edge.consumers} | ({FP32} if edge.is_output else set())
        for after in wanted - {produced}:
            total += model.boundary_us[e, INDEX[produced], INDEX[after]]
    return float(total)


def _plans(graph: SlotGraph, rng: np.random.Generator, count: int) -> np.ndarray:
    return np.stack([rng.integers(0, len(slot.choices), count) for slot in graph.slots], axis=1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 8))
def test_prices_are_the_definition(seed: int, slots: int) -> None:
    rng = np.random.default_rng(seed)
    model = _model(_random_graph(rng, slots), rng)
    plans = _plans(model.graph, rng, 20)
    expected = [_price(model, list(plan)) for plan in plans]
    assert model.price(plans) == pytest.approx(expected, rel=1e-12)
    for plan, price in zip(plans[:5], expected, strict=False):
        assert model.explain(plan).total_us == pytest.approx(price, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 8))
def test_deltas_are_differences_of_prices(seed: int, slots: int) -> None:
    rng = np.random.default_rng(seed)
    model = _model(_random_graph(rng, slots), rng)
    plan = _plans(model.graph, rng, 1)[0]
    deltas, price = model.deltas(plan), model.price(plan[None])[0]
    assert deltas.shape == model.node_us.shape
    for s, slot in enumerate(model.graph.slots):
        for k in range(len(slot.choices)):
            changed = plan.copy()
            changed[s] = k
            assert deltas[s, k] == pytest.approx(model.price(changed[None])[0] - price, abs=1e-9)


def _fork() -> CostModel:
    """X -> a -> {b, c, d} -> outputs of the graph; a's output also is one."""
    graph = SlotGraph(
        tuple(_slot(name, INT8, INT4) for name in "abcd"),
        (
            Edge("x", -1, (0,), 100),
            Edge("y", 0, (1, 2, 3), 100, is_output=True),
            *(Edge(f"out{i}", i, (), 100, is_output=True) for i in (1, 2, 3)),
        ),
    )
    return _model(graph, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("plan", "conversions"),
    [
        ([0, 0, 0, 0], []),
        ([0, 1, 1, 1], ["y fp32>int8", "out1 int8>fp32", "out2 int8>fp32", "out3 int8>fp32"]),
        ([1, 0, 0, 0], ["x fp32>int8", "y int8>fp32"]),
        (
            [1, 1, 0, 1],
            ["x fp32>int8", "y int8>fp32", "out1 int8>fp32", "out3 int8>fp32"],
        ),
        ([2, 2, 0, 2], []),
    ],
    ids=["fp32", "shared quantize", "shared dequantize", "mixed", "int4 keeps float"],
)
def test_conversions_are_shared_and_the_outside_is_fp32(
    plan: list[int], conversions: list[str]
) -> None:
    breakdown = _fork().explain(np.array(plan))
    found = [f"{cost.tensor} {cost.before}>{cost.after}" for cost in breakdown.boundaries]
    assert found == conversions
    assert [cost.choice.precision for cost in breakdown.slots] == [
        (FP32, INT8, INT4)[k] for k in plan
    ]


def test_costs_say_where_they_come_from() -> None:
    breakdown = _fork().explain(np.array([1, 1, 1, 1]))
    assert {cost.source for cost in breakdown.slots} == {Origin.MEASURED}
    assert {cost.source for cost in breakdown.boundaries} == {Origin.ESTIMATED}


def test_an_illegal_choice_has_no_price() -> None:
    graph = SlotGraph((_slot("a", INT8), _slot("b")), (Edge("x", -1, (0, 1), 1),))
    model = _model(graph, np.random.default_rng(0))
    assert np.isinf(model.price(np.array([[1, 1]]))).all()
    assert np.isfinite(model.price(np.array([[1, 0]]))).all()


def test_many_plans_are_priced_in_parts() -> None:
    model = _fork()
    plans = _plans(model.graph, np.random.default_rng(1), 70_000)
    prices = model.price(plans)
    some = np.array([0, 1, 32_767, 32_768, 69_999])
    assert np.array_equal(prices[some], model.price(plans[some]))


@pytest.mark.parametrize(
    "graph",
    [
        SlotGraph((), ()),
        SlotGraph((_slot("a", INT8),), ()),
        SlotGraph((_slot("a", INT8),), (Edge("x", -1, (), 1),)),
    ],
    ids=["no slots", "no edges", "no readers"],
)
def test_small_graphs(graph: SlotGraph) -> None:
    model = _model(graph, np.random.default_rng(0))
    plan = np.zeros(len(graph.slots), np.intp)
    expected = _price(model, plan.tolist())
    assert model.price(plan[None]) == pytest.approx([expected])
    assert model.explain(plan).total_us == pytest.approx(expected)
    assert model.deltas(plan).shape == model.node_us.shape


def test_figures_must_fit_the_graph() -> None:
    model = _fork()
    arrays = (model.node_us, model.boundary_us, model.node_source, model.boundary_source)
    with pytest.raises(ValueError, match="4 rows"):
        CostModel(model.graph, arrays[0][:2], *arrays[1:])
    with pytest.raises(ValueError, match="shape"):
        CostModel(model.graph, arrays[0], arrays[1][1:], *arrays[2:])
    for factor in (-1.0, np.inf):
        with pytest.raises(ValueError, match="finite time"):
            CostModel(model.graph, arrays[0], factor * (arrays[1] + 1.0), *arrays[2:])
