"""Channel groups of small graphs: which channels go together, which stay, and why."""

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.toolchain.structure.find_groups import find_groups
from hwc.toolchain.structure.groups import ChannelGroups, Role

Parse = Callable[[str], onnx.ModelProto]
HEAD = '<ir_version: 10, opset_import: ["" : 18]> g (float[N,4,8,8] x) => '


def groups_of(parse_graph: Parse, text: str) -> ChannelGroups:
    return find_groups(ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(HEAD + text))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            """(float[N,3,8,8] y) <float[6,4,1,1] w, float[3,6,1,1] v>
            { a = Conv (x, w) b = Relu (a) y = Conv (b, v) }""",
            {"a": (6, False)},
            id="chain: the only path does not vanish",
        ),
        pytest.param(
            """(float[N,3,8,8] y) <float[6,4,1,1] w, float[5,6,3,3] v, float[6,5,1,1] u,
            float[3,6,1,1] t>
            { a = Conv (x, w) b = Conv <pads = [1,1,1,1]> (a, v) c = Conv (b, u) d = Add (a, c)
              y = Conv (d, t) }""",
            {"a": (6, False), "b": (5, True)},
            id="residual: what is added is one group, the branch vanishes",
        ),
        pytest.param(
            """(float[N,3,8,8] y) <float[6,4,1,1] w, float[12,6,1,1] v, float[3,12,1,1] t,
            int64[8] p = {0,3,0,0,0,3,0,0}>
            { a = Conv (x, w) b = Pad (a, p) c = Conv (a, v) d = Add (b, c) y = Conv (d, t) }""",
            {"a": (6, False), "c": (6, True)},
            id="padded shortcut: what is added beside it is a group of its own",
        ),
        pytest.param(
            """(float[N,3,8,8] y) <float[6,4,1,1] w, float[6,1,3,3] v, float[3,6,1,1] t>
            { a = Conv (x, w) b = Conv <group = 6, pads = [1,1,1,1]> (a, v) y = Conv (b, t) }""",
            {"a": (6, False)},
            id="depthwise",
        ),
        pytest.param(
            """(float[N,3,8,8] y) <float[8,4,1,1] w, float[12,2,3,3] v, float[3,12,1,1] t>
            { a = Conv (x, w) b = Conv <group = 4, pads = [1,1,1,1]> (a, v) y = Conv (b, t) }""",
            {"a": (4, False)},
            id="groups go whole",
        ),
        pytest.param(
            """(float[N,3,8,8] y) <float[6,4,1,1] w, float[5,10,1,1] v, float[3,5,1,1] t>
            { a = Conv (x, w) b = Concat <axis = 1> (x, a) c = Conv (b, v) y = Conv (c, t) }""",
            {"a": (6, True), "c": (5, False)},
            id="concatenation: what is added to the input vanishes",
        ),
        pytest.param(
            """(float[N,3,8,8] y) <float[6,4,1,1] w, float[2,6,1,1] s, float[6,2,1,1] e,
            float[3,6,1,1] t>
            { a = Conv (x, w) p = GlobalAveragePool (a) q = Conv (p, s) r = Relu (q)
              u = Conv (r, e) v = Sigmoid (u) m = Mul (a, v) y = Conv (m, t) }""",
            {"a": (6, False), "q": (2, True)},
            id="squeeze and excite",
        ),
        pytest.param(
            """(float[N,5] y) <float[6,4,1,1] w, float[384,5] v>
            { a = Conv (x, w) b = Flatten (a) y = Gemm (b, v) }""",
            {"a": (6, False)},
            id="flattened",
        ),
        pytest.param(
            """(float[N,3,8,8] y) <float[6,4,1,1] w, float[3,3,1,1] v, int64[5] s = {0,2,3,8,8},
            int64[4] r = {0,6,8,8}, float[3,6,1,1] t>
            { a = Conv (x, w) b = Reshape (a, s) c = Transpose <perm = [0,2,1,3,4]> (b)
              d = Reshape (c, r) y = Conv (d, t) }""",
            {"a": (3, False)},
            id="shuffled: as many of each part",
        ),
        pytest.param(
            """(float[N,2,8,8] y) <float[6,4,1,1] w, float[2,4,1,1] t>
            { a = Conv (x, w) b, c = Split <axis = 1, num_outputs = 2> (a) d = Concat <axis = 1> (x)
              y = Conv (d, t) }""",
            {"a": (3, True), "a:2": (3, True)},
            id="what nothing reads may vanish",
        ),
    ],
)
def test_groups(parse_graph: Parse, text: str, expected: dict[str, tuple[int, bool]]) -> None:
    found = groups_of(parse_graph, text)
    assert {group.name: (group.units, group.vanishes) for group in found.groups} == expected
    assert found.skipped == ()


@pytest.mark.parametrize(
    ("text", "node", "why"),
    [
        pytest.param(
            """(float[N,3,4,4] y) <float[4,4,1,1] w, float[3,16,1,1] t>
            { a = Conv (x, w) b = SpaceToDepth <blocksize = 2> (a) y = Conv (b, t) }""",
            "b",
            "SpaceToDepth is not understood",
            id="unknown operator",
        ),
        pytest.param(
            """(float[N,3,8,8] y) <float[6,4,1,1] w, float[3,6,1,1] t>
            { a = Conv (x, w) b = Softmax <axis = 1> (a) y = Conv (b, t) }""",
            "b",
            "Softmax computes over the axis of the channels",
            id="normalised over channels",
        ),
        pytest.param(
            """(float[N,3,8,8] y) <float[6,4,1,1] w, float[3,3,1,1] t, int64[1] s = {0},
            int64[1] e = {6}, int64[1] d = {1}, int64[1] q = {2}>
            { a = Conv (x, w) b = Slice (a, s, e, d, q) y = Conv (b, t) }""",
            "b",
            "it takes every second channel, or turns them round",
            id="every second channel",
        ),
        pytest.param(
            """(float[N,3,8,8] y) <float[6,4,1,1] w, float[3,6,1,1] t, int64 i = {1}>
            { a = Conv (x, w) n = Shape (a) c = Gather (n, i) f = Cast <to = 1> (c) b = Div (a, f)
              y = Conv (b, t) }""",
            "n",
            "the number of channels is computed with",
            id="the number of channels",
        ),
        pytest.param(
            """(float[N,6,8,8] y) <float[6,4,1,1] w, float[6,6,1,1] t, float[6,6,1,1] u>
            { a = Conv (x, w) b = Conv (a, t) c = Conv (x, w) y = Conv (c, b) }""",
            "y",
            "its weight is not a constant",
            id="computed weight",
        ),
        pytest.param(
            """(float[N,3,4,4] y, int64[N,6,4,4] z) <float[6,4,1,1] w, float[3,6,1,1] t>
            { a = Conv (x, w) b, z = MaxPool <kernel_shape = [2,2], strides = [2,2]> (a)
              y = Conv (b, t) }""",
            "b",
            "MaxPool is not understood",
            id="places in memory",
        ),
        pytest.param(
            """(float[N,6,8,8] y) <float[6,4,1,1] w, float[6,6,1,1] t, float[2,6] b,
            int64[1] k = {0}>
            { e = ReduceMax <keepdims = 0> (b, k) a = Conv (x, w, e) y = Conv (a, t) }""",
            "a",
            "its bias is not a constant",
            id="computed bias",
        ),
        pytest.param(
            """(float[N,6,8,8] y, float[6] d) <float[6,4,1,1] w, float[6,6,1,1] t, float[6] b>
            { a = Conv (x, w, b) d = Neg (b) y = Conv (a, t) }""",
            "d",
            "it needs all of b, which channels lie in",
            id="a constant that another node reads",
        ),
    ],
)
def test_what_is_not_understood_stays_and_is_named(
    parse_graph: Parse, text: str, node: str, why: str
) -> None:
    found = groups_of(parse_graph, text)
    assert "a" not in {group.name for group in found.groups}
    assert (node, why) in {(it.node, it.why) for it in found.skipped}


def test_members_say_where_a_unit_lies_and_what_reads_it(parse_graph: Parse) -> None:
    text = """(float[N,5] y) <float[6,4,1,1] w, float[6] b, float[384,5] v>
    { a = Conv (x, w, b) f = Flatten (a) y = Gemm (f, v) }"""
    (group,) = groups_of(parse_graph, text).groups
    lies = {(m.constant, m.axis, m.indices.shape, m.role, m.node) for m in group.members}
    assert lies == {
        ("w", 0, (6, 1), Role.WRITES, "a"),
        ("b", 0, (6, 1), Role.WRITES, "a"),
        ("v", 0, (6, 64), Role.READS, "y"),
    }
    reads = next(m for m in group.members if m.role is Role.READS)
    np.testing.assert_array_equal(reads.indices, np.arange(384).reshape(6, 64))
    assert [(name, axis) for name, axis, _ in group.tensors] == [("a", 1), ("f", 1)]


def test_a_head_is_one_unit_of_query_key_and_value(parse_graph: Parse) -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]> g (float[N,7,12] x) => (float[N,7,12] y)
    <float[12,45] w, float[45] b, float[15,12] o, int64[5] s = {0,7,3,3,5}, int64[3] r = {0,7,15},
     int64[3] e = {1,1,1}, int64[1] z = {0}>
    { p = MatMul (x, w) q = Add (p, b) t = Reshape (q, s) u = Transpose <perm = [2,0,3,1,4]> (t)
      a1, a2, a3 = Split <axis = 0> (u, e) b1 = Squeeze (a1, z) b2 = Squeeze (a2, z)
      b3 = Squeeze (a3, z) k = Transpose <perm = [0,1,3,2]> (b2) c = MatMul (b1, k)
      d = Softmax (c) f = MatMul (d, b3) g = Transpose <perm = [0,2,1,3]> (f)
      h = Reshape (g, r) i = MatMul (h, o) y = Add (x, i) }"""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(text)))
    (group,) = find_groups(model).groups
    assert (group.name, group.units, group.vanishes) == ("p", 3, True)
    widths = {member.constant: member.indices.shape[1] for member in group.members}
    assert widths == {"w": 15, "b": 15, "o": 5}


def test_without_heads_query_and_key_share_what_is_summed(parse_graph: Parse) -> None:
    text = """<ir_version: 10, opset_import: ["" : 18]> g (float[N,7,4] x) => (float[N,7,4] y)
    <float[4,5] wq, float[4,5] wk, float[4,6] wv, float[6,4] o>
    { q = MatMul (x, wq) k = MatMul (x, wk) v = MatMul (x, wv) t = Transpose <perm = [0,2,1]> (k)
      c = MatMul (q, t) d = Softmax (c) f = MatMul (d, v) y = MatMul (f, o) }"""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(text)))
    groups = {group.name: group for group in find_groups(model).groups}
    assert {name: group.units for name, group in groups.items()} == {"q": 5, "v": 6}
    assert {member.constant for member in groups["q"].members} == {"wq", "wk"}


def test_of_two_branches_that_only_one_can_do_without_one_vanishes(parse_graph: Parse) -> None:
    text = """(float[N,3,8,8] y) <float[6,4,1,1] w, float[5,4,1,1] v, float[3,11,3,3] t,
    float[3,3,3,3] u>
    { a = Conv (x, w) b = Conv (x, v) c = Concat <axis = 1> (a, b)
      d = Conv <pads = [1,1,1,1]> (c, t) y = Conv <pads = [1,1,1,1]> (d, u) }"""
    found = groups_of(parse_graph, text)
    assert {g.name: g.vanishes for g in found.groups} == {"a": True, "b": False, "d": False}
