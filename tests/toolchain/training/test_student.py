"""Weights go to torch and back by name, and norms come and go without a trace."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.torch_graph import tensors_of
from hwc.toolchain.training.batches import Batches
from hwc.toolchain.training.student import (
    Student,
    common_features,
    learnt_weights,
    write_back,
)

torch = pytest.importorskip("torch", reason="torch is not installed")
Made = Callable[..., Any]


def outputs(model: ir.Model, make_runner: Made, feeds: Any) -> np.ndarray:  # noqa: ANN401 - feeds
    return make_runner(model)(feeds)["y"]


@pytest.mark.parametrize("norms", [False, True], ids=["plain", "norms"])
def test_there_and_back(norms: bool, network: ir.Model, pictures: Made, make_runner: Made) -> None:  # noqa: FBT001
    """Nothing was trained: the graph that is written is the same function."""
    student = Student.of(network, pictures(), make_runner, norms=norms)
    assert student.batched
    assert len(student.norms) == (3 if norms else 0)
    written = student.to_model(pictures(), make_runner)
    feeds = pictures()[5].feeds
    wanted = outputs(network, make_runner, feeds)
    np.testing.assert_allclose(outputs(written, make_runner, feeds), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norms", [False, True], ids=["plain", "norms"])
def test_what_was_learnt_is_written(
    norms: bool,  # noqa: FBT001 - parametrised
    network: ir.Model,
    pictures: Made,
    make_runner: Made,
) -> None:
    """The graph gives what torch gives after every parameter and statistic has moved."""
    student = Student.of(network, pictures(), make_runner, norms=norms)
    generator = torch.Generator().manual_seed(0)
    moved = {
        name: tensor * (1 + 0.2 * torch.rand(tensor.shape, generator=generator))
        for name, tensor in student.state().items()
    }
    student.load(moved)
    feeds = pictures()[3].feeds
    with torch.no_grad():
        wanted = student(tensors_of(feeds))["y"].numpy()
    written = student.to_model(pictures(), make_runner)
    got = outputs(written, make_runner, feeds)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)
    assert np.abs(got - outputs(network, make_runner, feeds)).max() > 0.1


def test_a_dead_channel_has_a_norm(network: ir.Model, pictures: Made, make_runner: Made) -> None:
    """A channel of zeros has no variance and no length."""
    value = network.graph.initializers["w2"]
    array = value.const_value.numpy().copy()
    array[2] = 0
    value.const_value = ir.tensor(array, name="w2")
    student = Student.of(network, pictures(), make_runner, norms=True)
    student.graph.module.train()
    batch = np.concatenate([pictures()[index].feeds["x"] for index in range(16)])
    assert torch.isfinite(student({"x": torch.from_numpy(batch)})["y"]).all()
    student.to_model(pictures(), make_runner)


def test_a_convolution_without_bias_gets_one(
    network: ir.Model, pictures: Made, make_runner: Made
) -> None:
    student = Student.of(network, pictures(), make_runner, norms=True)
    bias = next(norm.bias for norm in student.norms if norm.weight == "w2")
    assert bias not in network.graph.initializers
    assert student.to_model(pictures(), make_runner).graph.initializers[bias].shape == (8,)


def test_a_shared_weight_has_no_norm(
    parse_graph: Callable[[str], onnx.ModelProto], pictures: Made, make_runner: Made
) -> None:
    """Two convolutions read one weight, which cannot have two norms folded in."""
    text = """<ir_version: 9, opset_import: ["" : 18]> g (float[n,3,8,8] x) => (float[n,3,8,8] y)
        <float[3,3,1,1] w, float[3,3,1,1] v>
        { a = Conv(x, w) r = Relu(a) b = Conv(r, w) y = Conv(b, v) }"""
    model = ir.from_proto(parse_graph(text))
    student = Student.of(model, pictures(), make_runner, norms=True)
    assert [norm.weight for norm in student.norms] == ["v"]
    student.to_model(pictures(), make_runner)


def test_a_fixed_batch_is_noticed(
    parse_graph: Callable[[str], onnx.ModelProto], pictures: Made, make_runner: Made
) -> None:
    text = """<ir_version: 9, opset_import: ["" : 18]> g (float[1,3,8,8] x) => (float[1,5] y)
        <float[192,5] w, int64[2] s = {1, 192}> { r = Reshape(x, s) y = MatMul(r, w) }"""
    model = ir.from_proto(parse_graph(text))
    assert not Student.of(model, pictures(), make_runner, norms=True).batched


def test_samples_of_many_shapes(
    parse_graph: Callable[[str], onnx.ModelProto], make_runner: Made
) -> None:
    """Norms take their statistics from samples of any width, which can run in batches by shape."""
    text = """<ir_version: 9, opset_import: ["" : 18]> g (float[n,2,4,m] x) => (float[n,3,k,l] y)
        <float[3,2,3,3] w, float[3] b> { y = Conv(x, w, b) }"""
    model = ir.from_proto(parse_graph(text))
    rng = np.random.default_rng(0)
    widths = [4 + index % 3 for index in range(24)]
    samples = [Sample({"x": rng.standard_normal((1, 2, 4, w)).astype("f4")}) for w in widths]
    student = Student.of(model, samples, make_runner, norms=True)
    assert student.batched
    assert len(student.norms) == 1
    parts = Batches.of(samples, 12).at(0)
    assert sum(len(part) for part in parts) == 12
    assert len(parts) > 1
    student.to_model(samples, make_runner)


def test_what_is_learnt(parse_graph: Callable[[str], onnx.ModelProto]) -> None:
    """Weights are; numbers of a formula, masks, and tables of embeddings are not."""
    text = """<ir_version: 9, opset_import: ["" : 18]> g (int64[n,4] i) => (float[n,4,6] y)
        <float[9,8] table, float[8,6] w, float[6] b, float h = {0.5}, float[4,6] mask>
        { e = Gather(table, i) m = MatMul(e, w) a = Add(m, b) d = Mul(a, h) y = Add(d, mask) }"""
    model = ir.from_proto(parse_graph(text))
    mask = np.full((4, 6), -np.inf, np.float32)
    model.graph.initializers["mask"].const_value = ir.tensor(mask, name="mask")
    assert learnt_weights(model) == ("w", "b")


def test_features_in_common(network: ir.Model) -> None:
    assert common_features(network, network) == ("s",)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("nobody", np.zeros(1), "no weight 'nobody'"),
        ("w1", np.zeros((2, 2)), r"'w1' of shape \[8, 3, 3, 3\] became"),
        ("b1", np.full(8, np.nan), "'b1' is not finite"),
    ],
    ids=["name", "shape", "nan"],
)
def test_what_cannot_be_written(
    name: str, array: np.ndarray, message: str, network: ir.Model
) -> None:
    with pytest.raises(InputError, match=message):
        write_back(network, {name: array})
