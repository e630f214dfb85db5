"""Whatever the graph and the plan: what is written is valid, runs, and is near the original.

The graphs are random, of the operators that plans quantise, cast or only pass by.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.toolchain.dialect import Dialect
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.verify import Numbers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

OPSET = 21
MOST_NODES = 7
# What the roundings of up to eight kernels may leave of the signal (min-max ranges), worst first.
FLOOR_DB = {
    Precision.INT4: 8.0,
    Precision.INT8: 20.0,
    Precision.BF16: 40.0,
    Precision.FP16: 55.0,
    Precision.FP32: 120.0,  # another order of summation
}
Shape = tuple[int, ...]
Make = Callable[..., "Subject"]
FindDialect = Callable[[str], Dialect]


class Drawn:
    """A model that prints as its nodes."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto = proto

    def __repr__(self) -> str:
        return "\n".join(map(onnx.printer.to_text, self.proto.graph.node))


class Growing:
    """A graph to which nodes are added; every tensor that nothing reads becomes an output."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: dict[str, Shape] = {"x": (2, 3, 6, 6), "u": (2, 32)}
        self.shapes = dict(self.inputs)

    def grow(self) -> None:
        """Add a node that reads any of the tensors there are."""
        x = self.draw(st.sampled_from(sorted(self.shapes)))
        self.draw(st.sampled_from(STEPS[len(self.shapes[x])]))(self, x)

    def maybe(self) -> bool:
        """Yes or no."""
        return self.draw(st.booleans())

    def weight(self, *shape: int) -> str:
        """A weight of that shape: a new one, or one that another node has already."""
        same = sorted(name for name, array in self.constants.items() if array.shape == shape)
        if same and self.maybe():
            return self.draw(st.sampled_from(same))
        fan_in = np.prod(shape[1:]) if len(shape) > 2 else shape[0]
        array = self.rng.standard_normal(shape) / np.sqrt(fan_in if len(shape) > 1 else 4.0)
        return self.constant(array.astype(np.float32))

    def constant(self, array: np.ndarray) -> str:
        """A new initialiser."""
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def ints(self, *values: int) -> str:
        """A new int64 initialiser."""
        return self.constant(np.array(values, np.int64))

    def node(
        self,
        op: str,
        inputs: list[str],
        *shapes: Shape,
        **attributes: int | str | list[int] | onnx.GraphProto,
    ) -> None:
        """A node that writes tensors of these shapes."""
        count = len(self.nodes)
        names = [f"t{count}_{i}" for i in range(len(shapes))]
        made = helper.make_node(op, inputs, names, name=f"n{count}")
        made.attribute.extend(helper.make_attribute(key, v) for key, v in attributes.items())
        self.nodes.append(made)
        self.shapes.update(zip(names, shapes, strict=True))

    def model(self) -> onnx.ModelProto:
        """The checked model."""
        branches = [a.g for node in self.nodes for a in node.attribute if a.HasField("g")]
        bodies = [node for graph in branches for node in graph.node]
        read = {name for node in (*self.nodes, *bodies) for name in node.input}
        written = {name for node in self.nodes for name in node.output}
        ends = written - read
        if written & read and self.maybe():  # an output that is read inside as well
            ends.add(self.draw(st.sampled_from(sorted(written & read))))
        inputs = [_info(name, shape) for name, shape in self.inputs.items() if name in read]
        if branches:
            inputs.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, ()))
        graph = helper.make_graph(
            self.nodes,
            "random",
            inputs,
            [_info(name, self.shapes[name]) for name in sorted(ends)],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return model


def _info(name: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _conv(g: Growing, x: str) -> None:
    batch, channels, height, width = g.shapes[x]
    out = g.draw(st.sampled_from([2, 3, 8]))
    biases = [g.weight(out)] if g.maybe() else []
    inputs = [x, g.weight(out, channels, 3, 3), *biases]
    g.node("Conv", inputs, (batch, out, height, width), pads=[1, 1, 1, 1])


def _depthwise(g: Growing, x: str) -> None:
    channels = g.shapes[x][1]
    g.node("Conv", [x, g.weight(channels, 1, 1, 1)], g.shapes[x], group=channels)


def _relu(g: Growing, x: str) -> None:
    g.node("Relu", [x], g.shapes[x])


def _clip(g: Growing, x: str) -> None:
    low, high = g.draw(st.sampled_from([(0.0, 6.0), (-1.0, 1.0), (0.25, 2.0), (None, 1.0)]))
    bounds = ["" if end is None else g.constant(np.array(end, np.float32)) for end in (low, high)]
    g.node("Clip", [x, *bounds], g.shapes[x])


def _sigmoid(g: Growing, x: str) -> None:
    g.node("Sigmoid", [x], g.shapes[x])


def _exp(g: Growing, x: str) -> None:
    bounded = f"t{len(g.nodes)}_0"
    g.node("Tanh", [x], g.shapes[x])
    g.node("Exp", [bounded], g.shapes[x])  # no int8 kernel anywhere


def _binary(g: Growing, x: str) -> None:
    op = g.draw(st.sampled_from(["Add", "Mul"]))
    alike = sorted(name for name, shape in g.shapes.items() if shape == g.shapes[x])
    other = g.draw(st.sampled_from([*alike, None]))
    g.node(op, [x, other or g.weight(g.shapes[x][-1])], g.shapes[x])


def _concat(g: Growing, x: str) -> None:
    alike = sorted(name for name, shape in g.shapes.items() if shape == g.shapes[x])
    other = g.draw(st.sampled_from(alike))
    first, second, *rest = g.shapes[x]
    g.node("Concat", [x, other], (first, 2 * second, *rest), axis=1)


def _split(g: Growing, x: str) -> None:
    first, second, *rest = g.shapes[x]
    if second % 2 == 0:
        half = (first, second // 2, *rest)
        g.node("Split", [x], half, half, axis=1, num_outputs=2)


def _transpose(g: Growing, x: str) -> None:
    order = g.draw(st.permutations(range(len(g.shapes[x]))))
    g.node("Transpose", [x], tuple(g.shapes[x][axis] for axis in order), perm=list(order))


def _flatten(g: Growing, x: str) -> None:
    shape = g.shapes[x]
    g.node("Reshape", [x, g.ints(0, -1)], (shape[0], int(np.prod(shape[1:]))))


def _max_pool(g: Growing, x: str) -> None:
    if g.shapes[x][-1] > 1 and g.shapes[x][-2] > 1:
        batch, channels, height, width = g.shapes[x]
        shape = (batch, channels, height - 1, width - 1)
        g.node("MaxPool", [x], shape, kernel_shape=[2, 2])


def _resize(g: Growing, x: str) -> None:
    batch, channels, height, width = g.shapes[x]
    if height * width <= 64:
        mode = g.draw(st.sampled_from(["nearest", "linear"]))
        scales = g.constant(np.array([1, 1, 2, 2], np.float32))
        shape = (batch, channels, 2 * height, 2 * width)
        g.node("Resize", [x, "", scales], shape, mode=mode)


def _gemm(g: Growing, x: str) -> None:
    rows, depth = g.shapes[x]
    out = g.draw(st.sampled_from([4, 32]))
    flipped = g.maybe()
    weight = g.weight(out, depth) if flipped else g.weight(depth, out)
    biases = [g.weight(out)] if g.maybe() else []
    g.node("Gemm", [x, weight, *biases], (rows, out), transB=int(flipped))


def _mat_mul(g: Growing, x: str) -> None:
    *rest, depth = g.shapes[x]
    g.node("MatMul", [x, g.weight(depth, 32)], (*rest, 32))


def _product(g: Growing, x: str) -> None:
    rows, depth = g.shapes[x]
    flipped = f"t{len(g.nodes)}_0"
    g.node("Transpose", [x], (depth, rows), perm=[1, 0])
    g.node("MatMul", [x, flipped], (rows, rows))  # of two activations


def _branches(g: Growing, x: str) -> None:
    bodies = {}
    for key, op in (("then_branch", "Neg"), ("else_branch", "Identity")):
        name = f"{op.lower()}{len(g.nodes)}"
        node = helper.make_node(op, [x], [name], name=name)  # captures x
        bodies[key] = helper.make_graph([node], key, [], [_info(name, g.shapes[x])])
    g.node("If", ["flag"], g.shapes[x], **bodies)


ANY_RANK = (_relu, _clip, _sigmoid, _exp, _binary, _concat, _split, _transpose, _branches)
STEPS = {
    2: (*ANY_RANK, _gemm, _mat_mul, _product),
    4: (*ANY_RANK, _conv, _conv, _depthwise, _flatten, _max_pool, _resize, _mat_mul),
}


@st.composite
def random_models(draw: st.DrawFn) -> Drawn:
    """A model with one to seven steps."""
    growing = Growing(draw)
    growing.node("Identity", ["x"], growing.shapes["x"])
    for _ in range(draw(st.integers(1, MOST_NODES))):
        growing.grow()
    return Drawn(growing.model())


def random_plan(subject: "Subject", data: st.DataObject) -> Plan:
    """Any legal choice for each slot."""
    slots = subject.slots.slots
    return Plan.of((slot.name, data.draw(st.sampled_from(slot.choices))) for slot in slots)


EMULATED = frozenset({Precision.BF16})  # no CPU has such kernels


THOROUGH = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,  # a bound on noise is no theorem: the same graphs each time
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("device", ["x86", "a100"])
@THOROUGH
@given(drawn=random_models(), data=st.data())
def test_any_plan_gives_a_valid_graph_near_the_original(
    subject: Make,
    find_dialect: FindDialect,
    *,
    device: str,
    drawn: Drawn,
    data: st.DataObject,
) -> None:
    dialect = replace(find_dialect(device), emulated=EMULATED)
    bench = subject(drawn.proto, dialect)
    plan = random_plan(bench, data)
    written = ir.to_proto(bench.writer.write(plan))
    onnx.checker.check_model(written, full_check=True)
    assert list(written.graph.input) == list(drawn.proto.graph.input)
    assert list(written.graph.output) == list(drawn.proto.graph.output)
    used = {choice.precision for _, choice in plan.choices}
    floor = next(db for precision, db in FLOOR_DB.items() if precision in used)
    for optimise in (False, True):
        numbers = bench.numbers(written, optimise=optimise)
        assert numbers.finite
        assert numbers.same_shape
        assert numbers.sqnr_db >= floor


@pytest.mark.parametrize("device", ["x86", "a100", "ascend"])
@THOROUGH
@given(drawn=random_models(), data=st.data())
def test_writing_leaves_the_source_alone_and_repeats_itself(
    subject: Make,
    find_dialect: FindDialect,
    *,
    device: str,
    drawn: Drawn,
    data: st.DataObject,
) -> None:
    bench = subject(drawn.proto, find_dialect(device))
    source = ir.to_proto(bench.model).SerializeToString(deterministic=True)
    plan = random_plan(bench, data)
    first, second = (ir.to_proto(bench.writer.write(plan)) for _ in range(2))
    onnx.checker.check_model(first, full_check=True)
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    assert ir.to_proto(bench.model).SerializeToString(deterministic=True) == source


@pytest.mark.parametrize("device", ["x86", "a100", "ascend"])
@THOROUGH
@given(drawn=random_models())
def test_a_plan_of_fp32_changes_no_bit(
    subject: Make, find_dialect: FindDialect, *, device: str, drawn: Drawn
) -> None:
    bench = subject(drawn.proto, find_dialect(device))
    written = ir.to_proto(
        bench.writer.write(Plan.of((slot.name, NodeChoice()) for slot in bench.slots.slots))
    )
    assert list(written.graph.node) == list(ir.to_proto(bench.model).graph.node)
    assert replace(bench.numbers(written), worst="") == Numbers()
