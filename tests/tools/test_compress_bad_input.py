"""What `hwc compile` does where a graph, its data or its training will not do: it says so.

What cannot be cut stays and is named; a loss that is no number ends the training, and the last good
weights are delivered; whatever cannot be used is refused in one line, with nothing left behind.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hwc.toolchain.bundle import Bundle
from hwc.toolchain.report import Report
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Desk

USAGE, INPUT = 2, 3
SHORT = ["--train-minutes", "0.01"]
PRUNE = ["--data", "data.npz", "--methods", "prune"]
FULL = [*PRUNE, "--recover", "full", *SHORT, "--train-data"]
TRAIN = [*FULL, "data.npz"]
CUDA = ["--device", "jetson_orin", "--effort", "0", "--max-drop", "100%"]  # nothing is measured


def behind(*nodes: str, op: str, domain: str = "", **settings: int) -> str:
    """A model file with an operator behind some nodes, named after node and operator."""
    model = onnx.load("model.onnx")
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    before = list(model.graph.node)
    del model.graph.node[:]
    for node in before:
        model.graph.node.append(node)
        if node.name in nodes:
            tensor, inner = node.output[0], f"{node.name}_inner"
            model.graph.node[-1].output[0] = inner
            made = helper.make_node(op, [inner], [tensor], f"{node.name}_{op}", domain=domain)
            made.attribute.extend(helper.make_attribute(*pair) for pair in settings.items())
            model.graph.node.append(made)
    onnx.save(model, "other.onnx")
    return "other.onnx"


def delivered(desk: "Desk", *options: str, model: str = "model.onnx") -> tuple[Report, str]:
    """The report of a compilation that ends well, and what was printed of it."""
    asked = ("compile", model, "-q", "-o", "out.hwc", *CUDA, *options)
    ended = desk.hwc(*asked)
    assert (ended.code, ended.err) == (0, "")
    with Bundle.open(Path("out.hwc")) as bundle:
        return bundle.report(), " ".join(ended.out.split())


def test_what_cannot_be_resolved_is_named_and_the_rest_is_cut(desk: "Desk") -> None:
    report, printed = delivered(desk, *PRUNE, model=behind("conv2", op="LRN", size=3))
    line = "not cut: conv2_LRN: LRN is not understood"
    assert line in report.notes
    assert line in printed
    cut = {row.node for row in report.structure}
    assert "conv1" in cut
    assert report.compiled.macs < report.original.macs
    weights = weights_of("out.hwc/model.onnx")
    assert weights["w1"].shape[0] < 16
    assert weights["w2"].shape[0] == weights["w3"].shape[1] == 64


def test_where_nothing_can_be_resolved_that_is_said_too(desk: "Desk") -> None:
    model = behind("conv1", "conv2", "conv3", op="LRN", size=3)
    report, _ = delivered(desk, *PRUNE, model=model)
    assert report.compiled.macs == report.original.macs
    assert "not cut: conv2_LRN: LRN is not understood" in report.notes


def test_a_loss_that_is_no_number_keeps_the_last_good_weights(desk: "Desk") -> None:
    with np.load("data.npz") as good:
        np.savez("plain.npz", x=good["x"])  # without labels, any change of an output is a drop
    asked = [word.replace("data.npz", "plain.npz") for word in TRAIN]
    asked += ["--train-minutes", "1"]  # it stops after a step or two, however slow they are
    report, printed = delivered(desk, *asked, "--recipe", "lr=1e30", "--precision", "fp16")
    stopped = [note for note in report.notes if note.startswith("training stopped at step")]
    assert stopped
    assert all(note.endswith("step 0 was kept; a lower lr may go on") for note in stopped)
    assert stopped[0] in printed
    *cuts, end = report.stages
    assert all(row.loss is not None and row.drop <= row.loss < 1.0 for row in cuts), cuts
    assert end.kept
    assert end.drop == pytest.approx(cuts[-1].drop, abs=1e-4)
    assert all(np.isfinite(weight).all() for weight in weights_of("out.hwc/model.onnx").values())


@pytest.mark.parametrize("options", [[*TRAIN], [*PRUNE, "--importance", "taylor"]], ids=" ".join)
def test_an_operator_that_torch_lacks(desk: "Desk", options: list[str]) -> None:
    model = behind("y", op="QuickGelu", domain="com.microsoft")
    asked = ("compile", model, "-q", "-o", "out.hwc", *CUDA, *options)
    line = desk.refuses(*asked, code=INPUT)
    assert "onnx2fx has no com.microsoft.QuickGelu" in line
    assert "torch cannot run node 'y_QuickGelu'" in line
    assert "package.module:factory" in line


Arrays = Mapping[str, object]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda x: {"image": x}, ["arrays image", "inputs x"], id="names"),
        pytest.param(lambda x: {"x": x[:, 0]}, ["[16, 16]", "[batch, 3, 16, 16]"], id="axes"),
        pytest.param(lambda x: {"x": x.astype("c8")}, ["complex64", "float32"], id="type"),
        pytest.param(lambda x: {"x": x * np.nan}, ["sample 0", "x holds NaN"], id="NaN"),
        pytest.param(lambda x: {"x": x[:0]}, ["bad.npz holds no samples"], id="zero samples"),
        pytest.param(
            lambda x: {"x": x, "label": [1, 2]}, ["x 24, label 2"], id="labels of some samples"
        ),
        pytest.param(
            lambda x: {"x": x, "label": [0.5] * 24},
            ["one integer label", "float64", "leave the labels out"],
            id="labels that are no integers",
        ),
        pytest.param(
            lambda x: {"x": x, "label": np.eye(24, 4, dtype=int)},
            ["one integer label", "(4,)"],
            id="one-hot labels",
        ),
        pytest.param(lambda _: {"x": np.array([{}])}, ["pickled objects"], id="pickled"),
    ],
)
def test_training_data_that_does_not_fit(
    desk: "Desk", change: Callable[[np.ndarray], Arrays], words: list[str]
) -> None:
    with np.load("data.npz") as good:
        np.savez("bad.npz", **change(good["x"]))  # type: ignore[arg-type] # any array
    line = desk.refuses(*desk.compiling("-o", "out.hwc", *FULL, "bad.npz"), code=INPUT)
    assert all(word in line for word in words), line


def test_labels_of_some_files(desk: "Desk") -> None:
    with np.load("data.npz") as good:
        x = good["x"]
    Path("some").mkdir()
    for index, row in enumerate(x):
        arrays = {"x": row, "label": np.int64(1)} if index % 2 else {"x": row}
        np.savez(f"some/{index}.npz", **arrays)
    line = desk.refuses(*desk.compiling("-o", "out.hwc", *FULL, "some"), code=INPUT)
    assert "training samples have no label" in line
    assert "for all of them, or for none" in line


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([*TRAIN, "--train-minutes", "0"], USAGE, ["--train-minutes", "x>0"]),
        ([*TRAIN, "--train-minutes", "inf"], USAGE, ["--train-minutes", "not a finite number"]),
        ([*TRAIN, "--recipe", "lr=nan"], USAGE, ["--recipe: lr=nan", "is a number"]),
        ([*TRAIN, "--recipe", "lr=-1"], USAGE, ["lr -1", "lr must be at least 0"]),
        ([*TRAIN, "--recipe", "speed=9"], USAGE, ["'speed=9'", "temperature"]),
        (["--recover", "fast"], USAGE, ["--recover fast needs data", "--data"]),
        (["--methods", "prune", "--allow-random-calibration"], USAGE, ["prune needs data"]),
        (["--data", "data.npz", "--methods", ""], USAGE, ["there is no ''", "lowrank"]),
        ([*PRUNE, "--importance", "size"], USAGE, ["'size'", "taylor"]),
        (
            [*PRUNE, "--importance", "movement", "--initial", "gone.onnx"],
            INPUT,
            ["there is no file gone.onnx"],
        ),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)
def test_options_that_mean_nothing(
    desk: "Desk", options: list[str], code: int, words: list[str]
) -> None:
    line = desk.refuses(*desk.compiling("-o", "out.hwc", *options), code=code)
    assert all(word in line for word in words), line


def test_a_network_before_training_that_is_another(desk: "Desk") -> None:
    model = onnx.load("model.onnx")
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        half = array[: len(array) // 2] if tensor.name == "w2" else array
        half = half[:, : 64 // 2] if tensor.name == "w3" else half
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(half), tensor.name))
    onnx.save(model, "narrow.onnx")
    asked = ("-q", *CUDA, *PRUNE, "--importance", "movement", "--initial", "narrow.onnx")
    line = desk.refuses("compile", "model.onnx", "-o", "out.hwc", *asked, code=INPUT)
    assert "no weight w2 of the same shape" in line
    assert "before training" in line


@pytest.mark.parametrize("damage", ["garbage", "folder"])
def test_a_checkpoint_that_cannot_be_read_stays_as_it_is(desk: "Desk", damage: str) -> None:
    saved = Path("saved/train0.safetensors")
    saved.parent.mkdir()
    if damage == "garbage":
        saved.write_bytes(b"not a checkpoint")
    else:
        saved.mkdir()
        (saved / "mine.txt").write_text("precious")
    asked = ("-q", *CUDA, *TRAIN, "--checkpoint", "saved")
    line = desk.refuses("compile", "model.onnx", "-o", "out.hwc", *asked, code=INPUT)
    assert f"checkpoint {saved} cannot be read" in line
    assert f"remove {saved}" in line


def weights_of(path: str) -> dict[str, np.ndarray]:
    """The weights of a file by name."""
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
