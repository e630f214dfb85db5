"""Factors in a graph: the graph computes what it would with the weight that they stand for."""

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.passes.factorize import factorize, sites
from hwc.toolchain.errors import InputError
from hwc.toolchain.lowrank.factors import Factorisation, Method
from hwc.toolchain.lowrank.methods import decompose, factorise, methods_of
from hwc.toolchain.lowrank.rank import Criterion, ranks_at

ATOL = 1e-5  # of the largest output: both sides round in fp32, in another order

Parse = Callable[[str], onnx.ModelProto]
HEAD = '<ir_version: 10, opset_import: ["" : 21]>'


def conv(weight: str, attributes: str = "", x: str = "2,6,11,12", bias: str = "") -> str:
    """A graph of one convolution, and what reads it."""
    extra, given = (f", float[{bias}] b", ", b") if bias else ("", "")
    return f"""g (float[{x}] x) => (y) <float[{weight}] w{extra}>
        {{ c = Conv{attributes}(x, w{given}) y = Relu(c) }}"""


GRAPHS = {
    "3x3": conv("8,6,3,3"),
    "bias": conv("8,6,3,3", "<pads = [1,1,1,1]>", bias="8"),
    "strided": conv("8,6,3,3", "<strides = [2,3], pads = [1,1,1,1]>", bias="8"),
    "uneven pads": conv("8,6,3,5", "<pads = [0,2,1,3]>"),
    "dilated": conv("8,6,3,3", "<dilations = [2,3], pads = [2,3,2,3]>", bias="8"),
    "strided and dilated": conv("8,6,3,2", "<strides = [2,1], dilations = [1,2]>"),
    "1x1": conv("8,6,1,1"),
    "1x1 strided, padded": conv("8,6,1,1", "<strides = [2,2], pads = [1,0,0,1]>", bias="8"),
    "1d": conv("8,6,5", "<strides = [2], pads = [2,1]>", "2,6,20", "8"),
    "3d": conv("8,6,2,2,2", "<strides = [1,2,1]>", "1,6,5,6,7"),
    "gemm": "g (float[5,8] x) => (y) <float[8,6] w> { c = Gemm(x, w) y = Relu(c) }",
    "gemm bias": """g (float[5,8] x) => (y) <float[8,6] w, float[6] b>
        { c = Gemm<alpha = 0.5, beta = 2.0>(x, w, b) y = Relu(c) }""",
    "gemm transposed": """g (float[8,5] x) => (y) <float[6,8] w, float[5,6] b>
        { c = Gemm<transA = 1, transB = 1, alpha = 1.5>(x, w, b) y = Relu(c) }""",
    "matmul": "g (float[3,5,8] x) => (y) <float[8,6] w> { c = MatMul(x, w) y = Relu(c) }",
    "matmul of a vector": "g (float[8] x) => (y) <float[8,6] w> { c = MatMul(x, w) y = Relu(c) }",
    "matmul left": "g (float[3,8,5] x) => (y) <float[6,8] w> { c = MatMul(w, x) y = Relu(c) }",
    "matmul left of a vector": """g (float[8] x) => (y) <float[6,8] w>
        { c = MatMul(w, x) y = Relu(c) }""",
}
CASES = [
    pytest.param(name, method, id=f"{name}, {method}")
    for name, text in GRAPHS.items()
    for method in Method
    if method
    in methods_of(tuple(int(n) for n in text.split("<float[")[1].split("]")[0].split(",")))
]


def read(parse_graph: Parse, text: str) -> ir.Model:
    """A model with the shapes that are inferred."""
    typed = text.replace("(y)", "(float[] y)") if "=> (y)" in text else text
    proto = parse_graph(HEAD + typed)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, strict_mode=True))


def made_for(model: ir.Model, node: str, method: Method, share: float = 0.3) -> Factorisation:
    found = decompose(sites(model, 0).sites[node].weight(), method)
    return factorise(found, ranks_at(found, share, Criterion.RATIO), node=node)


def with_weight(model: ir.Model, node: str, factors: Factorisation) -> ir.Model:
    """The model with the weight that the factors stand for."""
    copy = model.clone()
    site = sites(copy, 0).sites[node]
    initializer = next(v for v in site.node.inputs if v is not None and v.is_initializer())
    assert initializer.const_value is not None
    old = initializer.const_value.numpy()
    flipped = old.shape != site.whole.shape or not np.array_equal(old, site.weight())
    new = factors.weight().T if flipped else factors.weight()
    initializer.const_value = ir.tensor(np.ascontiguousarray(new.astype(old.dtype)))
    return copy


def run(model: ir.Model) -> np.ndarray:
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    (x,) = model.graph.inputs
    assert x.shape is not None
    shape = [size if isinstance(size, int) else 2 for size in x.shape]
    feeds = {str(x.name): np.random.default_rng(5).standard_normal(shape).astype(np.float32)}
    return next(iter(Session(model, Options(threads=1, optimise=False))(feeds).values()))


@pytest.mark.parametrize(("name", "method"), CASES)
def test_it_computes_what_the_weight_would(name: str, method: Method, parse_graph: Parse) -> None:
    model = read(parse_graph, GRAPHS[name])
    factors = made_for(model, "c", method)
    written = factorize(model, {"c": factors})
    expected, got = run(with_weight(model, "c", factors)), run(written)
    np.testing.assert_allclose(got, expected, rtol=0, atol=ATOL * np.abs(expected).max())
    assert np.abs(expected - run(model)).max() > 1e-3 * np.abs(expected).max()  # it is another one


@pytest.mark.parametrize(("name", "method"), CASES)
def test_shapes_are_computedand_right(name: str, method: Method, parse_graph: Parse) -> None:
    model = read(parse_graph, GRAPHS[name])
    proto = ir.to_proto(factorize(model, {"c": made_for(model, "c", method)}))
    computed = {name for node in proto.graph.node for name in node.output}
    said = {it.name: it.type for it in proto.graph.value_info if it.name in computed}
    del proto.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True).graph.value_info
    assert {value.name: value.type for value in inferred} == said


@pytest.mark.parametrize(("name", "method"), CASES)
def test_the_price_is_that_of_the_graph(name: str, method: Method, parse_graph: Parse) -> None:
    model = read(parse_graph, GRAPHS[name])
    site, factors = sites(model, 0).sites["c"], made_for(model, "c", method)
    written = sites(factorize(model, {"c": factors}), 0)
    left = sum(it.whole.macs for it in written.sites.values())
    grouped = [form for chain in factors.forms for form in chain if form.groups > 1]
    assert len(written.skipped) == len(grouped)
    sizes = np.prod(site.whole.written)
    assert left + sum(int(np.prod(f.shape) * sizes) for f in grouped) == site.whole.macs_of(
        factors.forms
    )


def test_the_last_factor_keeps_the_name_the_bias_and_the_tensor(parse_graph: Parse) -> None:
    model = read(parse_graph, GRAPHS["bias"])
    written = factorize(model, {"c": made_for(model, "c", Method.TUCKER)})
    nodes = list(written.graph)
    assert [node.name for node in nodes] == ["c/factor0", "c/factor1", "c", "y"]
    assert [node.outputs[0].name for node in nodes] == ["c/factor0", "c/factor1", "c", "y"]
    assert [len(node.inputs) for node in nodes] == [2, 2, 3, 1]
    assert sorted(written.graph.initializers) == ["b", "w/factor0", "w/factor1", "w/factor2"]


def test_branches_add_up_to_the_tensor(parse_graph: Parse) -> None:
    model = read(parse_graph, GRAPHS["bias"])
    written = factorize(model, {"c": made_for(model, "c", Method.HIERARCHICAL)})
    names = [str(node.name) for node in written.graph]
    assert len(set(names)) == len(names)
    assert "c" in names
    assert written.graph[-2].op_type == "Add"
    assert written.graph[-2].outputs[0].name == "c"
    assert sum(len(node.inputs) == 3 for node in written.graph) == 1  # the bias is added once
    assert {"c/add1", "c/add2", "c/branch1/factor0", "c/branch2/factor1"} <= set(names)


def test_a_factor_can_be_factorised_again(parse_graph: Parse) -> None:
    model = read(parse_graph, GRAPHS["matmul"])
    once = factorize(model, {"c": made_for(model, "c", Method.SVD)})
    factors = made_for(once, "c", Method.SVD)
    twice = factorize(once, {"c": factors})
    names = [node.name for node in twice.graph]
    assert len(set(names)) == len(names) == 4
    expected = run(with_weight(once, "c", factors))
    np.testing.assert_allclose(run(twice), expected, rtol=0, atol=ATOL * np.abs(expected).max())


def test_a_factor_and_the_one_after_it_can_be_factorised_at_once(parse_graph: Parse) -> None:
    model = read(parse_graph, GRAPHS["matmul"])
    once = factorize(model, {"c": made_for(model, "c", Method.SVD)})
    both = {name: made_for(once, name, Method.SVD) for name in ("c/factor0", "c")}
    names = [node.name for node in factorize(once, both).graph]
    assert len(set(names)) == len(names) == 5


def test_the_model_that_was_given_stays(parse_graph: Parse) -> None:
    model = read(parse_graph, GRAPHS["bias"])
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    factorize(model, {"c": made_for(model, "c", Method.SVD)})
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_a_graph_output_keeps_its_name(parse_graph: Parse) -> None:
    text = "g (float[N,8] x) => (float[N,6] y) <float[8,6] w> { y = MatMul(x, w) }"
    model = ir.from_proto(parse_graph(HEAD + text))
    written = factorize(model, {"y": made_for(model, "y", Method.SVD)})
    assert [value.name for value in written.graph.outputs] == ["y"]
    assert str(written.graph[0].outputs[0].shape) == "[N,2]"
    assert run(written).shape == (2, 6)


def test_a_tied_weight_stays_where_it_is_read(parse_graph: Parse) -> None:
    text = """g (float[4,8] x) => (float[4,8] y) <float[8,8] w>
        { h = MatMul(x, w) y = MatMul(h, w) }"""
    model = ir.from_proto(parse_graph(HEAD + text))
    one, two = made_for(model, "h", Method.SVD), made_for(model, "y", Method.SVD, 0.5)
    assert "w" in factorize(model, {"h": one}).graph.initializers
    both = factorize(model, {"h": one, "y": two})
    assert "w" not in both.graph.initializers
    run(both)


SKIPPED = {
    "its channels are convolved in groups": """g (float[1,8,6,6] x) => (float[1,8,4,4] y)
        <float[8,1,3,3] w> { y = Conv<group = 8>(x, w) }""",
    "there are no factors for ConvTranspose": """g (float[1,8,6,6] x) => (float[1,4,8,8] y)
        <float[8,4,3,3] w> { y = ConvTranspose(x, w) }""",
    "its weight is computed at run time": """g (float[4,8] x, float[8,6] z) => (float[4,6] y)
        { y = MatMul(x, z) }""",
    "its padding is left to the runtime": """g (float[1,8,6,6] x) => (float[1,4,6,6] y)
        <float[4,8,3,3] w> { y = Conv<auto_pad = "SAME_UPPER">(x, w) }""",
    "its weight is not a matrix": """g (float[3,4,8] x) => (float[3,4,6] y)
        <float[3,8,6] w> { y = MatMul(x, w) }""",
}


@pytest.mark.parametrize("why", SKIPPED)
def test_what_cannot_be_factorised_says_why(why: str, parse_graph: Parse) -> None:
    model = ir.from_proto(parse_graph(HEAD + SKIPPED[why]))
    found = sites(model, 0)
    assert not found.sites
    assert found.skipped == {"y": why}
    with pytest.raises(InputError, match=f"y: cannot be factorised: {why}"):
        factorize(model, {"y": Factorisation(Method.SVD, (1,), ())})


def test_a_small_weight_is_no_site(parse_graph: Parse) -> None:
    model = read(parse_graph, GRAPHS["matmul"])
    assert sites(model, 48).sites
    found = sites(model, 49)
    assert found.skipped == {"c": "its weight has 48 numbers: too few for factors to pay"}


def test_factors_of_another_node(parse_graph: Parse) -> None:
    model = read(parse_graph, GRAPHS["matmul"])
    other = decompose(np.ones((6, 9)), Method.SVD).truncate((1,))
    with pytest.raises(InputError, match=r"c: factors of a weight of shape \(6, 9\), not \(6, 8\)"):
        factorize(model, {"c": other})
    with pytest.raises(InputError, match="d: no such node"):
        factorize(model, {"d": made_for(model, "c", Method.SVD)})
