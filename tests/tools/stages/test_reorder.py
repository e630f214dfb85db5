"""Channels are put into another order for 2:4, and the function stays what it was."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain import kernels
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.metrics import choose_metric
from hwc.toolchain.engine import Array, Feeds
from hwc.toolchain.progress import Silent
from hwc.tools.request import Method
from hwc.tools.stages.compilation import Compilation
from hwc.tools.stages.decide import reference
from hwc.tools.stages.reorder import reordered
from onnx import numpy_helper

if TYPE_CHECKING:
    from hwc.tests.tools.stages.conftest import Begun

NET = """<ir_version: 10, opset_import: ["" : 21]> g (float[N,16,6,6] x) => (float[N,8,6,6] y)
<float[32,16,1,1] w, float[32] b, float[32,32,1,1] v, float[8,32,1,1] u>
{ a = Conv (x, w, b) r = Relu (a) c = Conv (r, v) s = Add (r, c) y = Conv (s, u) }"""
SPARSE = {"methods": (Method.PRECISION, Method.SPARSITY)}


@pytest.fixture
def begin(
    files: Path, begin: Callable[..., "Begun"], parse_graph: Callable[[str], onnx.ModelProto]
) -> Callable[..., Compilation]:
    """Begin with small whole numbers: their sums are exact in any order."""
    proto, rng = parse_graph(NET), np.random.default_rng(0)
    for tensor in proto.graph.initializer:
        array = rng.integers(-1, 2, tuple(tensor.dims)).astype(np.float32)
        if array.ndim > 1:  # four channels that weigh much, beside four that weigh little
            array[:, np.arange(array.shape[1]) % 8 < 4] *= 3
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(proto, files / "mlp.onnx")
    np.savez(files / "data.npz", x=rng.integers(-2, 3, (12, 16, 6, 6)).astype(np.float32))

    def begun(device: str, **asked: object) -> Compilation:
        made = begin(device, **asked)
        split = Reference.of(reference(made.prepared.original), made.prepared.splits.search, "s")
        metric = choose_metric("auto", split.outputs, labelled=False)
        return Compilation(made.request, made.target, made.prepared, split, metric)

    return begun


def run(model: ir.Model, feeds: Feeds) -> Array:
    return Session(model, Options(1, optimise=False))(feeds)["y"]


def lost(model: ir.Model) -> float:
    """The share of what readers weigh that the two least of each four channels hold."""
    gone = whole = 0.0
    for name in ("v", "u"):
        tensor = kernels.constant(model.graph.initializers[name])
        assert tensor is not None
        fours = np.sort(np.abs(tensor.numpy()[:, :, 0, 0].reshape(-1, 4)), axis=1)
        gone, whole = gone + fours[:, :2].sum(), whole + fours.sum()
    return gone / whole


def test_the_function_is_exactly_the_same_and_2_4_loses_less(
    begin: Callable[..., Compilation],
) -> None:
    begun = begin("jetson_orin", **SPARSE)
    model = begun.prepared.model
    made = reordered(begun, Silent())
    assert lost(made) < 0.9 * lost(model)
    for index in range(4):
        feeds = begun.search.samples[index % len(begun.search)].feeds
        wanted = run(model, feeds)
        assert wanted.any()
        assert np.array_equal(run(made, feeds), wanted)


def test_the_model_that_was_given_stays(begin: Callable[..., Compilation]) -> None:
    begun = begin("jetson_orin", **SPARSE)
    before = ir.to_proto(begun.prepared.model).SerializeToString()
    reordered(begun, Silent())
    assert ir.to_proto(begun.prepared.model).SerializeToString() == before


@pytest.mark.parametrize(
    ("device", "asked"),
    [("jetson_orin", {}), ("host", SPARSE)],
    ids=["not asked for", "no kernel gains"],
)
def test_the_model_itself(
    begin: Callable[..., Compilation], device: str, asked: dict[str, object]
) -> None:
    begun = begin(device, **asked)
    assert reordered(begun, Silent()) is begun.prepared.model
