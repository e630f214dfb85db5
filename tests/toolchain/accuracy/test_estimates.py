"""Every method by name gives a table of the same shape."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain.accuracy.estimates import NEED_TORCH, Estimate, composite, estimate
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.perturbation import Rounding
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.errors import InputError

GRAPH = """<ir_version: 9, opset_import: ["" : 18]> g (float[1,4,8,8] x) => (float[1,10] y)
    <float[16,4,3,3] w, float[10,16] v>
    { a = Conv(x, w) r = Relu(a) p = GlobalAveragePool(r) f = Flatten(p)
      y = Gemm<transB = 1>(f, v) }"""


class Data:
    """A few samples."""

    def __len__(self) -> int:
        """How many there are."""
        return 3

    def __getitem__(self, index: int) -> Sample:
        """One of them."""
        rng = np.random.default_rng(index)
        return Sample({"x": rng.normal(size=(1, 4, 8, 8)).astype(np.float32)})


@pytest.fixture(scope="module")
def made(
    subject: Callable[..., Any], rounding: Callable[[Any], Rounding]
) -> tuple[Rounding, Reference]:
    """A small network."""
    bench = subject(GRAPH, samples=tuple(Data()[i].feeds for i in range(3)))
    run = Session(bench.model, Options(1, optimise=False))
    return rounding(bench), Reference.of(run, Data(), "search")


def test_every_method(made: tuple[Rounding, Reference]) -> None:
    pytest.importorskip("onnx2fx", reason="onnx2fx is not installed")
    tables = estimate(list(Estimate), *made)
    assert set(tables) == set(Estimate)
    for table in tables.values():
        assert table.shape == made[0].table().shape
        assert (table[:, 0] == 0).all()
        assert (table[0, 1:2] > 0).all()
    assert len({float(table[0, 1]) for table in tables.values()}) == len(tables)


def test_noise_needs_no_torch(
    made: tuple[Rounding, Reference], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    tables = estimate([Estimate.NOISE, Estimate.PROPAGATED], *made)
    assert set(tables) == set(Estimate) - NEED_TORCH
    with pytest.raises(InputError, match="PyTorch is not installed"):
        estimate([Estimate.FISHER], *made)


def test_a_composite_is_a_geometric_mean() -> None:
    tables = [np.array([[0.0, 4.0, np.nan]]), np.array([[0.0, 1.0, np.nan]])]
    np.testing.assert_allclose(composite(tables), [[0.0, 2.0, np.nan]])
