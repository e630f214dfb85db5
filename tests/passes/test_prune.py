"""Pruned graphs: the same numbers as with masks, smaller shapes, and branches that vanish."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.passes.prune import prune
from hwc.toolchain.engine import Array
from hwc.toolchain.errors import InputError
from hwc.toolchain.structure.find_groups import find_groups
from hwc.toolchain.structure.groups import ChannelGroup, Indices, Role
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

RTOL = 1e-5  # of the largest output: sums in another order, in fp32

Parse = Callable[[str], onnx.ModelProto]
HEAD = '<ir_version: 10, opset_import: ["" : 18]> g (float[N,4,8,8] x) => '
NETS = {
    "chain": """(float[N,3,8,8] y) <float[6,4,3,3] w, float[6] b, float[3,6,3,3] v>
    { a = Conv (x, w, b) s = Sigmoid (a) y = Conv <pads = [2,2,2,2]> (s, v) }""",
    "batch norm": """(float[N,3,8,8] y) <float[6,4,1,1] w, float[6] g1, float[6] g2, float[6] g3,
    float[6] g4 = {1,2,1,3,1,2}, float[3,6,1,1] v>
    { a = Conv (x, w) b = BatchNormalization (a, g1, g2, g3, g4) c = Relu (b) y = Conv (c, v) }""",
    "residual": """(float[N,3,8,8] y) <float[6,4,1,1] w, float[5,6,3,3] v, float[5] vb,
    float[6,5,3,3] u, float[6] ub, float[3,6,1,1] t>
    { a = Conv (x, w) b = Conv <pads = [1,1,1,1]> (a, v, vb) r = Relu (b)
      c = Conv <pads = [1,1,1,1]> (r, u, ub) d = Add (a, c) e = Relu (d) y = Conv (e, t) }""",
    "padded shortcut": """(float[N,3,4,4] y) <float[6,4,1,1] w, float[12,6,3,3] v,
    float[3,12,1,1] t, int64[8] p = {0,3,0,0,0,3,0,0}, int64[2] s = {0,0}, int64[2] e = {8,8},
    int64[2] k = {2,3}, int64[2] q = {2,2}>
    { a = Conv (x, w) h = Slice (a, s, e, k, q) b = Pad (h, p)
      c = Conv <pads = [1,1,1,1], strides = [2,2]> (a, v) d = Add (b, c) y = Conv (d, t) }""",
    "concatenated shortcut": """(float[1,3,8,8] y) <float[6,4,1,1] w, float[10,6,3,3] v,
    float[3,10,1,1] t, float[1,4,8,8] z>
    { o = Add (x, z) a = Conv (o, w) b = Concat <axis = 1> (a, z)
      c = Conv <pads = [1,1,1,1]> (a, v) d = Add (b, c) y = Conv (d, t) }""",
    "dense": """(float[N,3,8,8] y) <float[6,4,1,1] w, float[5,10,3,3] v, float[3,15,1,1] t>
    { a = Conv (x, w) b = Concat <axis = 1> (x, a) c = Conv <pads = [1,1,1,1]> (b, v)
      d = Concat <axis = 1> (c, b) y = Conv (d, t) }""",
    "depthwise": """(float[N,3,8,8] y) <float[6,4,1,1] w, float[12,1,3,3] v, float[12] b,
    float[3,12,1,1] t>
    { a = Conv (x, w) c = Conv <group = 6, pads = [1,1,1,1]> (a, v, b) d = HardSwish (c)
      y = Conv (d, t) }""",
    "in groups": """(float[N,3,8,8] y) <float[8,4,1,1] w, float[12,2,3,3] v, float[3,12,1,1] t>
    { a = Conv (x, w) b = Conv <group = 4, pads = [1,1,1,1]> (a, v) y = Conv (b, t) }""",
    "transposed": """(float[N,3,9,9] y) <float[4,6,2,2] w, float[6,2,1,1] v, float[12] vb,
    float[12,3,1,1] t>
    { a = ConvTranspose (x, w) b = ConvTranspose <group = 6> (a, v, vb) c = Relu (b)
      y = ConvTranspose (c, t) }""",
    "squeeze and excite": """(float[N,3,8,8] y) <float[6,4,1,1] w, float[4,6,1,1] s,
    float[6,4,1,1] e, float[6] eb, float[3,6,1,1] t>
    { a = Conv (x, w) p = GlobalAveragePool (a) q = Conv (p, s) r = Relu (q) u = Conv (r, e, eb)
      v = Sigmoid (u) m = Mul (a, v) y = Conv (m, t) }""",
    "flattened": """(float[N,5] y) <float[6,4,1,1] w, float[96,5] v>
    { a = Conv (x, w) p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (a) b = Flatten (p)
      y = Gemm (b, v) }""",
    "shuffled": """(float[N,3,8,8] y) <float[6,4,1,1] w, int64[5] s = {0,2,3,8,8},
    int64[4] r = {0,6,8,8}, float[3,6,1,1] t>
    { a = Conv (x, w) b = Reshape (a, s) c = Transpose <perm = [0,2,1,3,4]> (b)
      d = Reshape (c, r) y = Conv (d, t) }""",
    "parts": """(float[N,3,8,8] y) <float[9,4,1,1] w, int64[2] z = {4,5}, int64[1] s = {1},
    int64[1] e = {4}, int64[1] k = {1}, int64[3] i = {4,0,2}, float[4] f, float[6,1,1] g,
    float[3,7,1,1] t, float[3,3,1,1] u>
    { a = Conv (x, w) b, c = Split <axis = 1> (a, z) d = Slice (b, s, e, k)
      h = Gather <axis = 1> (c, i) j = Mul (d, h) n = Concat <axis = 1> (b, j)
      o = Conv (n, t) q = Conv (d, u) y = Add (o, q) }""",
    "shared weight": """(float[N,3,8,8] y) <float[6,4,1,1] w, float[6,6,3,3] v, float[3,12,1,1] t>
    { a = Conv (x, w) b = Conv <pads = [1,1,1,1]> (a, v) c = Conv <pads = [1,1,1,1]> (b, v)
      d = Concat <axis = 1> (b, c) y = Conv (d, t) }""",
    "resized": """(float[N,3,16,16] y) <float[6,4,1,1] w, float[4] z = {1,1,2,2}, float[6,1,1] q,
    float[3,6,1,1] t>
    { a = Conv (x, w) b = Resize <mode = "nearest"> (a, , z) c = PRelu (b, q) y = Conv (c, t) }""",
    "heads": """(float[N,64,4] y) <float[4,12] w, float[12] b, float[4,4] o, float[4,6] f,
    float[6,4] g, int64[3] m = {0,4,64}, int64[5] s = {0,64,3,2,2}, int64[3] r = {0,64,4},
    int64[3] e = {1,1,1}, int64[1] z = {0}>
    { n = Reshape (x, m) l = Transpose <perm = [0,2,1]> (n) p = MatMul (l, w) q = Add (p, b)
      t = Reshape (q, s) u = Transpose <perm = [2,0,3,1,4]> (t)
      a1, a2, a3 = Split <axis = 0> (u, e) b1 = Squeeze (a1, z) b2 = Squeeze (a2, z)
      b3 = Squeeze (a3, z) k = Transpose <perm = [0,1,3,2]> (b2) c = MatMul (b1, k)
      d = Softmax (c) h = MatMul (d, b3) v = Transpose <perm = [0,2,1,3]> (h) i = Reshape (v, r)
      j = MatMul (i, o) aa = Add (l, j) bb = MatMul (aa, f) cc = Erf (bb) dd = MatMul (cc, g)
      y = Add (aa, dd) }""",
}


def build(parse_graph: Parse, net: str) -> ir.Model:
    return ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(HEAD + NETS[net])))


def run(model: ir.Model, batch: int = 2) -> Array:
    shape = model.graph.inputs[0].shape
    assert shape is not None
    x = np.random.default_rng(3).standard_normal((batch, 4, 8, 8)).astype(np.float32)
    return Session(model, Options(threads=1, optimise=False))({"x": x})["y"]


def masked(
    model: ir.Model, groups: tuple[ChannelGroup, ...], kept: Mapping[str, Indices]
) -> ir.Model:
    """The graph as it is, but what reads the channels that go has zeros for weights."""
    copy = model.clone()
    for group in groups:
        out = np.setdiff1d(np.arange(group.units), kept.get(group.name, np.arange(group.units)))
        for member in group.members:
            if member.role is Role.READS:
                value = copy.graph.initializers[member.constant]
                assert value.const_value is not None
                array = np.moveaxis(value.const_value.numpy().copy(), member.axis, 0)
                array[member.indices[out].reshape(-1)] = 0
                array = np.ascontiguousarray(np.moveaxis(array, 0, member.axis))
                value.const_value = ir.tensor(array)
    return copy


def check(model: ir.Model, kept: Mapping[str, Indices], batch: int) -> ir.Model:
    """Prune, and compare with masks."""
    groups = find_groups(model).groups
    pruned = prune(model, groups, kept)
    onnx.checker.check_model(ir.to_proto(pruned), full_check=True)
    want, got = run(masked(model, groups, kept), batch), run(pruned, batch)
    np.testing.assert_allclose(got, want, rtol=0, atol=RTOL * np.abs(want).max())
    return pruned


def weights(model: ir.Model) -> int:
    return sum(
        value.const_value.size for value in model.graph.initializers.values() if value.const_value
    )


@pytest.mark.parametrize("net", NETS)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_pruned_is_masked(parse_graph: Parse, net: str, data: st.DataObject) -> None:
    model = build(parse_graph, net)
    groups = find_groups(model).groups
    assert groups
    kept = {
        group.name: np.array(
            sorted(
                data.draw(
                    st.sets(
                        st.integers(0, group.units - 1),
                        min_size=0 if group.vanishes else 1,
                        max_size=group.units,
                    )
                )
            ),
            np.intp,
        )
        for group in groups
    }
    pruned = check(model, kept, batch=1 if net == "concatenated shortcut" else 2)
    removed = any(len(kept[group.name]) < group.units for group in groups)
    assert (weights(pruned) < weights(model)) == removed


def test_shapes_shrink_and_the_model_stays_as_it_is(parse_graph: Parse) -> None:
    model = build(parse_graph, "residual")
    before = weights(model)
    pruned = prune(model, find_groups(model).groups, {"a": np.arange(2), "b": np.arange(3)})
    shapes = {str(out.name): out.shape for node in pruned.graph for out in node.outputs}
    assert {name: shapes[name][1] for name in "abcde"} == {"a": 2, "b": 3, "c": 2, "d": 2, "e": 2}
    assert weights(model) == before
    assert pruned.graph.inputs[0].shape == model.graph.inputs[0].shape


def test_a_branch_that_vanishes_adds_its_bias(parse_graph: Parse) -> None:
    model = build(parse_graph, "residual")
    pruned = check(model, {"b": np.zeros(0, np.intp)}, batch=2)
    assert [node.op_type for node in pruned.graph] == ["Conv", "Add", "Relu", "Conv"]


def test_a_branch_that_vanishes_without_bias_adds_nothing(parse_graph: Parse) -> None:
    model = build(parse_graph, "heads")
    groups = find_groups(model).groups
    pruned = check(model, {group.name: np.zeros(0, np.intp) for group in groups}, batch=2)
    assert [node.op_type for node in pruned.graph] == ["Reshape", "Transpose"]


@pytest.mark.parametrize("net", ["dense", "squeeze and excite", "residual", "heads", "parts"])
def test_every_branch_that_can_vanishes(parse_graph: Parse, net: str) -> None:
    model = build(parse_graph, net)
    kept = {g.name: np.zeros(0, np.intp) for g in find_groups(model).groups if g.vanishes}
    assert kept
    assert weights(check(model, kept, batch=2)) < weights(model)


def test_a_computed_shape_that_two_read_is_changed_for_one(parse_graph: Parse) -> None:
    text = """(float[N,6,64] y) <float[6,4,1,1] w, float[6,4,1,1] v, float[6,6,1] t,
    int64[1] c = {6}, int64[1] m = {64}>
    { a = Conv (x, w) n = Shape <end = 1> (x) s = Concat <axis = 0> (n, c, m) b = Reshape (a, s)
      d = Conv (b, t) e = Conv (x, v) f = Reshape (e, s) y = Add (d, f) }"""
    model = ir.from_proto(
        onnx.shape_inference.infer_shapes(parse_graph(HEAD + text), data_prop=True)
    )
    pruned = check(model, {"a": np.array([0, 5])}, batch=2)
    assert sum(node.op_type == "Concat" for node in pruned.graph) == 2


def test_every_group_of_a_sum_needs_its_own_numbers(parse_graph: Parse) -> None:
    model = build(parse_graph, "padded shortcut")
    pruned = check(model, {"a": np.array([1, 4]), "c": np.array([0, 1, 5])}, batch=2)
    pad = next(node for node in pruned.graph if node.op_type == "Pad")
    assert pad.inputs[1] is not None
    assert pad.inputs[1].const_value is not None
    assert pad.inputs[1].const_value.numpy().tolist() == [0, 2, 0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        pytest.param({"a": []}, "a: none of its 6 units is left", id="the only path"),
        pytest.param({"a": [0, 6]}, "a: the units to keep are not ascending", id="too high"),
        pytest.param({"a": [1, 0]}, "a: the units to keep are not ascending", id="not ascending"),
        pytest.param({"a": [1, 1]}, "a: the units to keep are not ascending", id="twice"),
        pytest.param({"q": [1]}, "no channel group is called q", id="no such group"),
    ],
)
def test_units_that_cannot_be_kept(
    parse_graph: Parse, kept: dict[str, list[int]], message: str
) -> None:
    model = build(parse_graph, "residual")
    arrays = {name: np.array(units, np.intp) for name, units in kept.items()}
    with pytest.raises(InputError, match=message):
        prune(model, find_groups(model).groups, arrays)
