"""What the commands on a bundle refuse: one line, the documented exit code, nothing changed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Desk

USAGE, INPUT, DEVICE, OUTPUT, INTEGRITY = 2, 3, 4, 7, 8
FILES = (
    "golden.npz",
    "manifest.json",
    "manifest.sha256",
    "model.onnx",
    "plan.json",
    "report.json",
)
COMMANDS = {
    "show": (),
    "verify": (),
    "run": ("--input", "one.npz", "-o", "y.npz"),
    "bench": (),
    "build": (),
}


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_changed_byte(desk: "Desk", command: str, name: str) -> None:
    flip_a_bit(Path("host.hwc", name))
    line = desk.refuses(command, "host.hwc", *COMMANDS[command], code=INTEGRITY)
    blamed = "manifest.json" if name == "manifest.sha256" else name
    assert line.startswith(f"host.hwc: {blamed} does not have ")
    assert "do not use this bundle" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_a_changed_byte_in_an_archive(desk: "Desk", command: str) -> None:
    archive = Path(shutil.make_archive("host", "zip", "host.hwc"))
    flip_a_bit(archive)
    line = desk.refuses(command, "host.zip", *COMMANDS[command], code=INTEGRITY)
    assert line.startswith("host.zip: ")


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("gone.hwc", INPUT, "no such bundle: name a folder or zip made by hwc compile"),
        ("plain", INTEGRITY, "has no manifest.json: name a bundle made by hwc compile"),
        ("model.onnx", INTEGRITY, "is not a bundle, neither a folder nor a zip"),
        ("data.npz", INTEGRITY, "has no manifest.json"),
    ],
    ids=["missing", "folder", "model", "another zip"],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_bundle(desk: "Desk", command: str, name: str, code: int, words: str) -> None:
    Path("plain").mkdir()
    Path("plain/notes.txt").write_text("not a bundle")
    line = desk.refuses(command, name, *COMMANDS[command], code=code)
    assert line.startswith(f"{name}: {words}")


@pytest.mark.parametrize("command", ["run", "bench", "build"])
def test_the_device_is_not_here(desk: "Desk", command: str) -> None:
    line = desk.refuses(command, "orin.hwc", *COMMANDS[command], code=DEVICE)
    assert line.startswith("orin.hwc: is for NVIDIA Jetson AGX Orin 64 GB, which is not here")
    assert line.endswith("copy the bundle to the device and give the same command there")


def test_what_cannot_be_verified_here_is_owed(desk: "Desk") -> None:
    ended = desk.hwc("verify", "orin.hwc")
    assert ended.code == 0
    assert ended.out.count("not checked here") == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda x: {"image": x}, ["arrays image", "inputs x"], id="names"),
        pytest.param(lambda x: {"x": x[:, :2]}, ["[1, 2, 16, 16]", "[batch, 3"], id="shape"),
        pytest.param(lambda x: {"x": x.astype(str)}, ["float32", "astype"], id="type"),
        pytest.param(lambda x: {"x": x * np.nan}, ["x holds NaN"], id="NaN"),
    ],
)
def test_wrong_inputs(
    desk: "Desk", change: Callable[[np.ndarray], dict[str, object]], words: list[str]
) -> None:
    with np.load("one.npz") as good:
        np.savez("bad.npz", **change(good["x"]))  # type: ignore[arg-type] # any array
    line = desk.refuses("run", "host.hwc", "--input", "bad.npz", "-o", "y.npz", code=INPUT)
    assert line.startswith("bad.npz: ")
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], USAGE, "Missing option '--input'"),
        (["--input", "gone.npz"], INPUT, "cannot read gone.npz: No such file or directory: "),
        (["--input", "model.onnx"], INPUT, "cannot read model.onnx"),
        (["--input", "one.npz", "-o", "data.npz"], OUTPUT, "data.npz: exists already"),
        (["--input", "one.npz", "-o", "plain", "--force"], OUTPUT, "plain: is a folder"),
        (["--input", "one.npz", "-o", "host.hwc", "--force"], OUTPUT, "host.hwc: is a folder"),
        (["--input", "one.npz", "-o", "gone/y.npz"], OUTPUT, "gone/y.npz: there is no folder"),
        (["--input", "one.npz", "-o", "/proc/y.npz"], OUTPUT, "/proc/y.npz: cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_run_options(desk: "Desk", options: list[str], code: int, words: str) -> None:
    Path("plain").mkdir()
    Path("plain/thesis.tex").write_text("years of work")
    assert words in desk.refuses("run", "host.hwc", *options, code=code)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "model.onnx", "--force"], "model.onnx: is a file but not a bundle"),
        (["-o", "plain", "--force"], "plain: is a folder but not a bundle"),
        (["-o", "orin.hwc"], "orin.hwc: exists already"),
        (["-o", "gone/built.hwc"], "gone/built.hwc: there is no folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_build_options(desk: "Desk", options: list[str], words: str) -> None:
    Path("plain").mkdir()
    Path("plain/thesis.tex").write_text("years of work")
    assert words in desk.refuses("build", "host.hwc", *options, code=OUTPUT)


@pytest.mark.parametrize(
    ("original", "words"),
    [
        ("changed.onnx", ["changed.onnx: is not what host.hwc was made from", "find model.onnx"]),
        ("gone.onnx", ["there is no file gone.onnx"]),
    ],
    ids=["another", "missing"],
)
@pytest.mark.parametrize("command", ["verify", "bench"])
def test_a_given_original_that_is_another_model(
    desk: "Desk", command: str, original: str, words: list[str]
) -> None:
    shutil.copy("model.onnx", "changed.onnx")
    flip_a_bit(Path("changed.onnx"))
    line = desk.refuses(command, "host.hwc", "--original", original, code=INPUT)
    assert all(word in line for word in words), line


def test_the_recorded_original_changed(desk: "Desk") -> None:
    flip_a_bit(Path("model.onnx"))
    ended = desk.hwc("verify", "host.hwc")
    assert ended.code == 0  # the bundle is what it was: only the comparison is owed
    assert "not checked here" in ended.out
    assert "model.onnx changed since it was compiled: --original" in ended.out
    line = desk.refuses("verify", "host.hwc", "--data", "data.npz", code=USAGE)
    assert "model.onnx changed since it was compiled" in line


def test_the_external_data_of_the_original_changed(desk: "Desk") -> None:
    model = onnx.load("model.onnx")
    Path("old").mkdir()
    onnx.save(model, "old/big.onnx", save_as_external_data=True, location="big.bin")
    made = desk.compiling("--device", "ascend", "-o", "big.hwc", model="old/big.onnx")
    assert desk.hwc(*made).code == 0
    Path("old").rename("moved")
    assert desk.hwc("verify", "big.hwc", "--original", "moved/big.onnx").code == 0
    flip_a_bit(Path("moved/big.bin"))
    line = desk.refuses("verify", "big.hwc", "--original", "moved/big.onnx", code=INPUT)
    assert line.startswith("moved/big.bin: is not what big.hwc was made from")


@pytest.mark.parametrize(
    ("data", "words"),
    [("gone.npz", "no such data: gone.npz"), ("names.npz", "arrays image")],
    ids=["missing", "names"],
)
def test_verify_on_wrong_data(desk: "Desk", data: str, words: str) -> None:
    np.savez("names.npz", image=np.zeros((1, 3, 16, 16), np.float32))
    assert words in desk.refuses("verify", "host.hwc", "--data", data, code=INPUT)
