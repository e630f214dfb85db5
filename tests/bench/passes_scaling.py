"""How the time of the graph passes grows with the graph: 1,000 nodes against 10,000.

Run `python tests/bench/passes_scaling.py`. It prints the CPU seconds of each pass on both graphs
and their ratio (10 is linear), best of three, with Python's garbage collector off: its walks over
the whole model fall on whichever pass allocates. The last row is one run with the collector on.

The graph repeats a block of Conv, BatchNormalization, an exploded HardSwish, shape arithmetic,
transposes that cancel, constants and a residual Add, so that every pass has work in proportion to
the nodes.
"""

import gc
import sys
import time
from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
from hwc.passes import pipeline
from hwc.toolchain.dialect import Dialect
from onnx import TensorProto, helper, numpy_helper

DIALECT = Dialect("bench", 13, 21, fused_activations=frozenset({"Relu", "Clip"}))
BLOCK = 20
SIZES = (1_000, 10_000)


def generated(nodes: int) -> onnx.ModelProto:
    """A model with about `nodes` nodes."""
    rng = np.random.default_rng(0)
    made: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def constant(name: str, array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(array, name))
        return name

    def node(op: str, inputs: list[str], name: str, **attributes: object) -> str:
        made.append(helper.make_node(op, inputs, [name], name=f"n_{name}", **attributes))
        return name

    x = "x"
    for block in range(nodes // BLOCK):

        def n(name: str, at: int = block) -> str:
            return f"b{at}_{name}"

        w = constant(n("w"), rng.normal(size=(4, 4, 1, 1)).astype(np.float32) / 4)
        stats = [constant(n(s), rng.uniform(0.5, 2, 4).astype(np.float32)) for s in "abcd"]
        three, zero, six = (
            node("Constant", [], n(f"k{v}"), value_float=float(v)) for v in (3, 0, 6)
        )
        index, at0, rest = (
            node("Constant", [], n(name), value=numpy_helper.from_array(np.array(value)))
            for name, value in (("i", 0), ("at0", [0]), ("rest", [4, 64]))
        )
        c = node("Conv", [x, w], n("conv"))
        c = node("BatchNormalization", [c, *stats], n("bn"))
        gate = node("Clip", [node("Add", [c, three], n("add")), zero, six], n("clip"))
        h = node("Div", [node("Mul", [c, gate], n("mul")), six], n("hs"))
        batch = node("Gather", [node("Shape", [h], n("shape")), index], n("gather"))
        batch = node("Unsqueeze", [batch, at0], n("unsqueeze"))
        target = node("Concat", [batch, rest], n("target"), axis=0)
        flat = node("Reshape", [h, target], n("flat"))
        there = node("Transpose", [flat], n("there"), perm=[0, 2, 1])
        back = node("Transpose", [there], n("back"), perm=[0, 2, 1])
        image = constant(n("image"), np.array([0, 4, 8, 8]))
        x = node("Add", [node("Reshape", [back, image], n("img")), x], n("out"))
    shape = ["N", 4, 8, 8]
    graph = helper.make_graph(
        made,
        "generated",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


class Timed:
    """A pass that adds its CPU time to a counter."""

    def __init__(self, inner: pipeline.GraphPass, seconds: Counter[str]) -> None:
        self.name = inner.name
        self._inner = inner
        self._seconds = seconds

    def __call__(self, model: ir.Model, /) -> ir.passes.PassResult:
        """Run the pass."""
        start = time.process_time()
        result = self._inner(model)
        self._seconds[self.name] += time.process_time() - start
        return result


def measure(nodes: int) -> tuple[Counter[str], str]:
    """CPU seconds by pass, and the journal's first line."""
    seconds: Counter[str] = Counter()
    model = ir.from_proto(generated(nodes))
    passes = [Timed(each, seconds) for each in pipeline.standard(DIALECT)]
    journal = pipeline.run_passes(model, passes)
    return seconds, next(iter(journal.lines()))


def best(nodes: int) -> tuple[Counter[str], str]:
    """The fastest of three measurements."""
    return min((measure(nodes) for _ in range(3)), key=lambda each: each[0].total())


def main() -> None:
    """Print the table."""
    collected = [measure(nodes)[0].total() for nodes in SIZES]
    gc.disable()
    (small, said), (large, said_large) = (best(nodes) for nodes in SIZES)
    rows = [(name, small[name], large[name]) for name in large]
    rows.append(("all", small.total(), large.total()))
    rows.append(("all, collector on", collected[0], collected[1]))
    lines = [f"{SIZES[0]}: {said}", f"{SIZES[1]}: {said_large}"]
    lines += [f"{'pass':20} {SIZES[0]:>9} {SIZES[1]:>9} {'ratio':>6}"]
    lines += [f"{name:20} {a:8.3f}s {b:8.3f}s {b / max(a, 1e-9):6.1f}" for name, a, b in rows]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
