"""The errors that a choice brings in are those of the graph that is written for it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hwc.toolchain.accuracy.perturbation import Rounding
from hwc.toolchain.plan import Precision

HEAD = '<ir_version: 9, opset_import: ["" : 21]>'
GRAPH = """g (float[2,3,8,8] x) => (float[2,5] y)
    <float[4,3,3,3] w, float[4] b, float[4,5] v>
    { c = Conv(x, w, b) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p) y = MatMul(f, v) }"""
Made = Callable[..., Any]


@pytest.fixture(scope="module")
def made(subject: Made, rounding: Callable[[Any], Rounding]) -> Rounding:
    """The graph for x86."""
    made: Rounding = rounding(subject(HEAD + GRAPH))
    return made


def test_one_for_each_choice_that_computes(made: Rounding) -> None:
    found = [(change.slot.name, change.column) for change in made.perturbations()]
    assert found == [("c", 1), ("p", 1), ("y", 1)]  # a Flatten only moves numbers


def test_what_is_rounded(made: Rounding) -> None:
    """ONNX Runtime's convolutions write integers; a product that no int8 kernel reads does not."""
    found = {change.slot.name: change for change in made.perturbations()}
    assert set(found["c"].activations) == {"x", "r"}
    assert set(found["y"].activations) == {"f"}
    assert set(found["c"].constants) == {"w"}
    assert set(found["p"].constants) == set()


def test_tensorrt_writes_floats(subject: Made, rounding: Callable[[Any], Rounding]) -> None:
    made = rounding(subject(HEAD + GRAPH, "a100"))
    changes = [change for change in made.perturbations() if change.slot.name == "c"]
    precisions = [change.slot.choices[change.column].precision for change in changes]
    activations = dict(zip(precisions, (set(c.activations) for c in changes), strict=True))
    assert activations[Precision.INT8] == {"x"}
    assert activations[Precision.FP16] == {"x", "r"}


def test_the_table_to_fill_in(made: Rounding) -> None:
    table = made.table()
    assert [slot.name for slot in made.graph.slots] == ["c", "p", "f", "y"]
    assert (table[:, 0] == 0).all()
    assert table[2, 1] == 0
    assert np.isnan(table[[0, 1, 3], 1]).all()


def test_a_tensor_without_calibration_has_no_error(made: Rounding) -> None:
    assert made.activations.error("nobody", Precision.INT8) == 0
    assert made.activations.error("nobody", Precision.FP16) == 0
    assert made.activations.error("x", Precision.INT4) == 0
    assert made.activations.error("x", Precision.INT8) > made.activations.error("x", Precision.FP16)
