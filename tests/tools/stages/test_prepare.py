"""The model as one clean graph, the data in three parts, and what is made up without data."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hwc.toolchain.errors import InputError, UsageError
from hwc.toolchain.inputs import InputSpec
from hwc.tools.stages.prepare import RANDOM_SAMPLES, RandomSamples

if TYPE_CHECKING:
    from hwc.tests.tools.stages.conftest import Begun

Begin = Callable[..., "Begun"]
Parse = Callable[[str], onnx.ModelProto]
OLD = '<ir_version: 7, opset_import: ["" : {opset}]>'
NET = " g (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = HardSigmoid (x) }"


def test_the_original_is_kept_beside_what_the_passes_make_of_it(begin: Begin) -> None:
    prepared = begin().prepared
    assert prepared.model is not prepared.original
    assert prepared.real
    assert {node.op_type for node in prepared.original.graph} == {
        "Gemm",
        "Relu",
        "Sigmoid",
        "MatMul",
    }
    assert prepared.feeds["x"].shape == (1, 64)


def test_three_parts_of_the_data_share_no_sample(begin: Begin) -> None:
    splits = begin().prepared.splits
    parts = [
        {part[i].feeds["x"].tobytes() for i in range(len(part))}
        for part in (splits.calibrate, splits.search, splits.report)
    ]
    assert sum(map(len, parts)) == 12
    assert len(set.union(*parts)) == 12


def test_few_samples_are_noted_only_where_they_are_the_users(begin: Begin) -> None:
    assert any("few samples" in note for note in begin().prepared.notes)
    without = begin(data=False).prepared
    assert without.notes == ()
    assert not without.real
    assert sum(map(len, (without.splits.calibrate, without.splits.report))) <= RANDOM_SAMPLES


def test_made_up_samples_fit_the_inputs_and_are_the_same_each_time() -> None:
    specs = (
        InputSpec("x", "float32", ("N", 3)),
        InputSpec("h", "float16", (2,)),
        InputSpec("ids", "int64", (1, None)),
        InputSpec("level", "float32", ()),
        InputSpec("flag", "bool", ()),
    )
    samples = RandomSamples(specs, 3)
    first, again, other = samples[0].feeds, samples[0].feeds, samples[1].feeds
    assert {name: (a.shape, a.dtype.name) for name, a in first.items()} == {
        "x": ((1, 3), "float32"),
        "h": ((2,), "float16"),
        "ids": ((1, 1), "int64"),
        "level": ((), "float32"),
        "flag": ((), "bool"),
    }
    assert all(isinstance(array, np.ndarray) for array in first.values())
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["x"], other["x"])
    assert set(np.unique(first["ids"])) <= {0, 1}
    assert len(samples) == 3


@pytest.mark.parametrize(("opset", "wanted"), [(11, 17), (13, 17), (17, 17), (20, 20)])
def test_the_opset_is_raised_to_what_fused_operators_need(
    begin: Begin, files: Path, parse_graph: Parse, opset: int, wanted: int
) -> None:
    onnx.save(parse_graph(OLD.format(opset=opset) + NET), files / "mlp.onnx")
    np.savez(files / "data.npz", x=np.ones((4, 3, 2, 2), np.float32))
    prepared = begin().prepared
    assert prepared.model.opset_imports[""] == wanted


def test_the_opset_is_lowered_for_a_device_that_reads_no_newer(
    begin: Begin, files: Path, parse_graph: Parse
) -> None:
    onnx.save(parse_graph(OLD.format(opset=20) + NET), files / "mlp.onnx")
    np.savez(files / "data.npz", x=np.ones((4, 3, 2, 2), np.float32))
    begun = begin("ascend")
    assert begun.prepared.model.opset_imports[""] == begun.target.dialect.opset_max < 20


def test_static_shapes_come_from_the_data(begin: Begin, files: Path, parse_graph: Parse) -> None:
    onnx.save(parse_graph(OLD.format(opset=17) + NET), files / "mlp.onnx")
    np.savez(files / "data.npz", x=np.ones((4, 3, 5, 6), np.float32))
    assert begin("dcu").prepared.model.graph.inputs[0].shape == (1, 3, 5, 6)


def test_static_shapes_from_nowhere_are_refused(
    begin: Begin, files: Path, parse_graph: Parse
) -> None:
    onnx.save(parse_graph(OLD.format(opset=17) + NET), files / "mlp.onnx")
    with pytest.raises(UsageError, match="'x' has the free dimensions") as refusal:
        begin("ascend", data=False)
    assert "--input x=SHAPE" in refusal.value.hint
    fixed = begin("ascend", data=False, inputs={"": (1, 3, 4, 4)})
    assert fixed.prepared.model.graph.inputs[0].shape == (1, 3, 4, 4)


def test_a_missing_model_is_refused(begin: Begin, files: Path) -> None:
    (files / "mlp.onnx").unlink()
    with pytest.raises(InputError):
        begin()
