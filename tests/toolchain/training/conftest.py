"""A small network of pictures, samples for it, and a copy of it that something was done to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.engine import Array, Runner

TEXT = """<ir_version: 9, opset_import: ["" : 18]>
g (float[n,3,8,8] x) => (float[n,5] y)
<float[8,3,3,3] w1, float[8] b1, float[8,8,3,3] w2, float[6,8,1,1] w3, float[6] b3,
 float[5,6] v, float[5] c>
{ a = Conv<pads = [1,1,1,1]>(x, w1, b1) r = Relu(a)
  e = Conv<pads = [1,1,1,1]>(r, w2) s = Add(e, r) t = Relu(s)
  f = Conv(t, w3, b3) u = Relu(f) p = GlobalAveragePool(u) q = Flatten(p)
  y = Gemm<transB = 1>(q, v, c) }"""


@dataclass(frozen=True)
class Pictures:
    """Random pictures of low contrast and, perhaps, labels."""

    count: int = 64
    labels: Array | None = None
    raw: bool = False

    def __len__(self) -> int:
        """How many there are."""
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Make one; the same each time."""
        if index >= self.count:
            raise IndexError(index)
        rng = np.random.default_rng(index)
        colour = rng.standard_normal((1, 3, 1, 1))
        x = (colour + 0.5 * rng.standard_normal((1, 3, 8, 8))).astype(np.float32)
        if self.raw:
            x = np.clip(128 + 40 * x, 0, 255).round()
        return Sample({"x": x}, None if self.labels is None else np.asarray(self.labels[index]))


def run(model: ir.Model) -> Runner:
    """The graph as it is written."""
    return Session(model, Options(1, optimise=False))


def changed(model: ir.Model, amount: float = 0.3, seed: int = 0) -> ir.Model:
    """A copy with noise in every weight, in parts of the weight's spread."""
    copy, rng = model.clone(), np.random.default_rng(seed)
    for name, value in copy.graph.initializers.items():
        array = value.const_value.numpy()
        noise = amount * array.std() * rng.standard_normal(array.shape)
        value.const_value = ir.tensor((array + noise).astype(np.float32), name=name)
    return copy


@pytest.fixture
def network(parse_graph: Callable[[str], onnx.ModelProto]) -> ir.Model:
    """The network, sure enough of its classes to be seen as a classifier."""
    model = ir.from_proto(parse_graph(TEXT))
    for name, factor in (("v", 20.0), ("b1", 0.2)):
        value = model.graph.initializers[name]
        value.const_value = ir.tensor(value.const_value.numpy() * np.float32(factor), name=name)
    return model


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep torch to one thread: tests run side by side."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("onnx2fx", reason="onnx2fx is not installed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pictures() -> type[Pictures]:
    """Makes samples."""
    return Pictures


@pytest.fixture
def make_runner() -> Callable[[ir.Model], Runner]:
    """The runtime."""
    return run


@pytest.fixture
def disturb() -> Callable[..., ir.Model]:
    """Puts noise into every weight."""
    return changed
