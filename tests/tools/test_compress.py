"""`hwc compile` prunes planted channels at no loss, trains, and ends well after a kill."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain.bundle import Bundle
from hwc.toolchain.plan import Plan
from onnx import numpy_helper

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Desk

HWC = (sys.executable, "-c", "from hwc.tools.cli import main; main()")
PATIENCE = 60  # seconds
CUT = ["--data", "data.npz", "--methods", "prune", "--max-drop", "8%", "-o", "out.hwc"]
ELSEWHERE = ["--device", "jetson_orin"]  # nothing is measured, so that no noise decides
CUT += ["--effort", "0", *ELSEWHERE]
TRAINED = ["--recover", "full", "--train-data", "training.npz"]
FULL = [*CUT, "--recover", "full", "--train-data", "data.npz", "--checkpoint", "saved"]


@pytest.fixture
def planted(desk: "Desk") -> "Desk":
    """The model with 48 of the 64 channels between conv2 and conv3 giving nothing."""
    model = onnx.load("model.onnx")
    weight = model.graph.initializer[1]
    array = numpy_helper.to_array(weight).copy()
    array[::4], array[np.arange(64) % 4 > 0] = array[::4], 0.0
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, "model.onnx")
    return desk


def test_channels_that_give_nothing_are_found(planted: "Desk") -> None:
    ended = planted.hwc(*planted.compiling(*CUT))
    assert ended.code == 0, ended.err
    with Bundle.open(Path("out.hwc")) as bundle:
        report, plan = bundle.report(), Plan.from_json((bundle.folder / "plan.json").read_text())
    left = {row.node: row.keep for row in report.structure}
    assert min(left.values()) <= 0.5
    assert {name: plan.as_dict()[name].keep for name in left} == left
    assert report.compiled.macs < report.original.macs
    assert report.compiled.weights < report.original.weights
    assert report.stages[0].kept
    assert "cut: anything" in ended.out
    assert "x fewer" in ended.out


def test_a_kill_leaves_only_the_checkpoint_and_another_run_ends_well(planted: "Desk") -> None:
    before = planted.snapshot()
    command = planted.compiling(*FULL)
    env = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        [*HWC, *map(str, command), "--train-minutes", "0.5"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        until = time.monotonic() + PATIENCE
        while not Path("saved/train0.safetensors").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.01)
        process.kill()
    work = {name for name in planted.snapshot() if not name.startswith("tmp/")} - set(before)
    assert {name for name in work if not name.startswith("work/saved")} == set()
    ended = planted.hwc(*planted.compiling(*FULL, "--train-minutes", "0.05"))
    assert ended.code == 0, ended.err
    assert Path("out.hwc").is_dir()


def test_zeros_grow_while_weights_are_trained(desk: "Desk") -> None:
    """Weights fit the size if three quarters of the larger ones are 0; trained, they still are."""
    asked = questions()
    asked += ["--storage", "int8~75", "--max-size", "0.04", "--max-drop", "25%"]
    ended = desk.hwc(*desk.compiling(*asked, *TRAINED, "--train-minutes", "0.2"))
    assert ended.code == 0, ended.err
    told = " ".join(ended.out.split())
    before, after = re.findall(r"a drop of ([\d.]+)% became ([\d.]+)%", told)[-1]
    assert float(after) < float(before)
    with Bundle.open(Path("out.hwc")) as bundle:
        plan, model = bundle.plan(), ir.load(bundle.model)
    sparse = [slot for slot, choice in plan.choices if choice.storage == "int8~75"]
    assert sparse
    held = [value.const_value for value in model.graph.initializers.values()]
    zeros = [np.mean(it.numpy() == 0) for it in held if it is not None and it.size > 100]
    assert sum(share == pytest.approx(0.75, abs=0.02) for share in zeros) == len(sparse)


def test_weights_are_trained_for_what_the_plan_keeps_of_them(desk: "Desk") -> None:
    """Only 2-bit weights fit the size."""
    asked = [*questions(), "--storage", "lsq2", "--max-size", "0.03", "--max-drop", "25%"]
    ended = desk.hwc(*desk.compiling(*asked, *TRAINED, *ELSEWHERE, "--train-minutes", "0.1"))
    assert ended.code == 0, ended.err
    assert "training with the plan's rounding" in " ".join(ended.out.split())


def questions() -> list[str]:
    """Options with data of its own for training, and the original's answers for labels."""
    original = Session(ir.load("model.onnx"), Options(1))
    with np.load("data.npz") as some:
        shape = some["x"].shape[1:]
    x = np.random.default_rng(0).standard_normal((400, *shape)).astype(np.float32)
    answers = [next(iter(original({"x": row[None]}).values())).argmax() for row in x]
    np.savez("alike.npz", x=x[:160], label=np.array(answers[:160]))
    np.savez("training.npz", x=x[160:], label=np.array(answers[160:]))
    return ["--data", "alike.npz", "--methods", "precision,storage", "-o", "out.hwc"]
