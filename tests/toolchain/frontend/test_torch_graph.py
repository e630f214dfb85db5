"""The torch form of a graph is the same function, by the same names; what is not is refused."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain.engine import Feeds
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.torch_graph import TorchGraph, check_same, tensors_of, to_torch

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx2fx", reason="onnx2fx is not installed")

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'
GRAPHS = {
    "convolutions": """g (float[n,4,9,9] x) => (float[n,5] y)
        <float[8,4,3,3] w, float[8] b, float[8,1,3,3] d, float[5,8] v, float[5] c>
        { a = Conv<pads = [1,1,1,1]>(x, w, b) r = Relu(a)
          e = Conv<group = 8, strides = [2,2]>(r, d) s = Sigmoid(e) m = Mul(e, s)
          p = GlobalAveragePool(m) f = Flatten(p) y = Gemm<transB = 1>(f, v, c) }""",
    "attention": """g (float[1,6,8] x) => (float[1,6,8] y)
        <float[8] s, float[8] b, float[8,8] q, float[8,8] k>
        { l = LayerNormalization(x, s, b) a = MatMul(l, q) c = MatMul(l, k)
          t = Transpose<perm = [0,2,1]>(c) d = MatMul(a, t) w = Softmax(d) m = MatMul(w, l)
          y = Add(x, m) }""",
}
each_graph = pytest.mark.parametrize("name", GRAPHS)
Made = Callable[..., Any]


def original(model: ir.Model, feeds: Feeds) -> dict[str, np.ndarray]:
    """What the runtime computes."""
    return Session(model, Options(1, optimise=False))(feeds)


@each_graph
def test_the_same_function(name: str, subject: Made) -> None:
    bench = subject(HEAD + GRAPHS[name])
    graph = to_torch(bench.model)
    assert graph.inputs == ("x",)
    assert graph.outputs == ("y",)
    assert set(graph.weights) == set(bench.model.graph.initializers)
    for feeds in bench.samples:
        assert check_same(graph, feeds, original(bench.model, feeds)) < 1e-5


@each_graph
def test_other_weights(name: str, subject: Made) -> None:
    """Weights are given by their name in the ONNX graph, and the model is not changed."""
    bench = subject(HEAD + GRAPHS[name])
    graph = to_torch(bench.model)
    weight = next(n for n, t in graph.weights.items() if t.ndim > 1)
    feeds = bench.samples[0]
    got = graph(tensors_of(feeds), {weight: graph.weights[weight] * 2})["y"].numpy()
    copy = bench.model.clone()
    value = copy.graph.initializers[weight]
    value.const_value = ir.tensor(value.const_value.numpy() * 2, name=weight)
    np.testing.assert_allclose(got, original(copy, feeds)["y"], rtol=1e-4, atol=1e-5)
    assert check_same(graph, feeds, original(bench.model, feeds)) < 1e-5


def test_tensors_inside_can_be_differentiated_by(subject: Made) -> None:
    bench = subject(HEAD + GRAPHS["convolutions"])
    graph = to_torch(bench.model, ["r", "m", "y", "x"])
    assert graph.outputs == ("y", "r", "m")
    outputs = graph(tensors_of(bench.samples[0]), {"w": graph.weights["w"].requires_grad_()})
    (gradient,) = torch.autograd.grad(outputs["y"].sum(), [outputs["m"]])
    assert gradient.shape == outputs["m"].shape
    assert float(gradient.abs().sum()) > 0


def test_names_that_differ_only_in_signs(subject: Made) -> None:
    """`a.b` and `a/b` are two weights, whatever a converter makes of their names."""
    text = """g (float[2,8] x) => (float[2,8] y) <float[8] u, float[8] v>
        { s = Add(x, u) y = Mul(s, v) }"""
    bench = subject(HEAD + text)
    model = bench.model.clone()
    for old, new in (("u", "a.b"), ("v", "a/b")):
        model.graph.initializers[old].name = new
    feeds = bench.samples[0]
    graph = to_torch(model)
    assert set(graph.weights) == {"a.b", "a/b"}
    assert check_same(graph, feeds, original(bench.model, feeds)) < 1e-6


def test_names_like_those_that_are_given(subject: Made) -> None:
    """What is renamed does not take the name of a tensor inside."""
    text = """g (float[2,8] v1) => (float[2,8] y) <float[8] v2>
        { v0 = Add(v1, v2) vv0 = Relu(v0) y = Mul(vv0, v2) }"""
    bench = subject(HEAD + text)
    feeds = bench.samples[0]
    graph = to_torch(bench.model)
    assert graph.inputs == ("v1",)
    assert check_same(graph, feeds, original(bench.model, feeds)) < 1e-6


def test_another_function_is_refused(subject: Made) -> None:
    bench = subject(HEAD + GRAPHS["attention"])
    feeds = bench.samples[0]
    expected = original(bench.model, feeds)
    graph = to_torch(bench.model)
    with pytest.raises(InputError, match=r"another function: output 'y' is off by 1\.\d%"):
        check_same(graph, feeds, {"y": expected["y"] + 0.01 * np.abs(expected["y"]).max()})
    with pytest.raises(InputError, match="off by inf"):
        check_same(graph, feeds, {"y": expected["y"][:, :3]})


def test_an_operator_that_cannot_be_converted() -> None:
    """One line that names it and its node, and what else there is."""
    head = '<ir_version: 9, opset_import: ["" : 18, "my.ops" : 1]>'
    text = "g (float[2,8] x) => (float[2,8] y) { r = Relu(x) [mine] y = my.ops.Custom(r) }"
    model = ir.from_onnx_text(head + text)
    with pytest.raises(InputError, match=r"node 'mine': .* my\.ops\.Custom") as caught:
        to_torch(model)
    assert "\n" not in str(caught.value)
    assert "torch module" in caught.value.hint


@pytest.mark.parametrize("module", ["torch", "onnx2fx"])
def test_a_missing_library(module: str, subject: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = subject(HEAD + GRAPHS["attention"])
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match="is not installed") as caught:
        to_torch(bench.model)
    assert "hwc-compiler[gradients]" in caught.value.hint


def test_a_graph_that_cannot_run(subject: Made) -> None:
    """What the converted graph raises becomes one line."""

    def broken(*_: object) -> Sequence[object]:
        raise IndexError("index out of range in self")

    bench = subject(HEAD + GRAPHS["attention"])
    graph = to_torch(bench.model)
    graph.module.forward = broken
    with pytest.raises(InputError, match="running the graph in torch failed: IndexError"):
        TorchGraph.__call__(graph, tensors_of(bench.samples[0]))
