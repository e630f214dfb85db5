"""What `hwc compile` refuses of pruning and training: one line, its exit code, nothing left."""

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Desk

USAGE, INPUT, OUTPUT = 2, 3, 7
DATA = ["--data", "data.npz"]
PRUNE = [*DATA, "--methods", "precision,prune"]
FULL = [*PRUNE, "--recover", "full", "--train-data"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--methods", "prune"], USAGE, ["--methods prune needs data", "--data"]),
        (["--methods", "precision,lowrank"], USAGE, ["--methods lowrank needs data"]),
        ([*DATA, "--methods", "prune,shrink"], USAGE, ["no 'shrink'", "lowrank"]),
        ([*PRUNE, "--train-data", "data.npz"], USAGE, ["nothing is trained", "--recover full"]),
        ([*PRUNE, "--augment", "flip"], USAGE, ["--augment is given", "--recover full"]),
        ([*PRUNE, "--checkpoint", "saved"], USAGE, ["--checkpoint is given", "--recover full"]),
        ([*PRUNE, "--recover", "full"], USAGE, ["nothing to train on", "--train-data"]),
        ([*FULL, "data.npz", "--augment", "flop"], USAGE, ["'flop'", "flip crop=4"]),
        ([*FULL, "data.npz", "--augment", "crop=16"], USAGE, ["augmentation is for pictures"]),
        ([*FULL, "data.npz", "--checkpoint", "/proc/saved"], OUTPUT, ["/proc/saved", "--check"]),
        ([*FULL, "data.npz", "--checkpoint", "data.npz"], OUTPUT, ["is a file", "--checkpoint"]),
        ([*FULL, "gone.npz"], INPUT, ["no such data: gone.npz"]),
        ([*FULL, "wide.npz"], INPUT, ["[3, 16, 17]", "[batch, 3, 16, 16]"]),
        ([*FULL, "few.npz"], INPUT, ["8 training samples are too few"]),
        ([*PRUNE, "--importance", "movement"], USAGE, ["--importance movement", "--initial"]),
        ([*PRUNE, "--initial", "model.onnx"], USAGE, ["--importance movement", "--initial"]),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)
def test_compression_that_cannot_be(
    desk: "Desk", options: list[str], code: int, words: list[str]
) -> None:
    with np.load("data.npz") as good:
        x = good["x"]
    np.savez("wide.npz", x=np.pad(x, ((0, 0), (0, 0), (0, 0), (0, 1))))
    np.savez("few.npz", x=x[:8])
    line = desk.refuses(*desk.compiling("-o", "out.hwc", *options), code=code)
    assert all(word in line for word in words), line


def test_labels_that_are_no_classes(desk: "Desk") -> None:
    model = onnx.load("model.onnx")
    weight = model.graph.initializer[3]
    peaked = 100 * numpy_helper.to_array(weight)  # so that outputs look like scores of classes
    weight.CopyFrom(numpy_helper.from_array(peaked, weight.name))
    onnx.save(model, "peaked.onnx")
    with np.load("data.npz") as good:
        np.savez("classes.npz", x=good["x"], label=np.full(len(good["x"]), 9))
    asked = desk.compiling("-o", "out.hwc", *FULL, "classes.npz", model="peaked.onnx")
    line = desk.refuses(*asked, code=INPUT)
    assert "such as 9, are no classes" in line
    assert "0 to 3" in line
