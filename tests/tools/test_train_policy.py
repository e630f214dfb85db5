"""`hwc train-policy`: a file that is read again, from seeds and from graphs, and bad input."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from hwc.toolchain.search.rl.networks import Family
from hwc.toolchain.search.rl.policy_file import SHIPPED, read_policy
from hwc.tools import train_policy
from hwc.tools.cli import main

TINY = ("train-policy", "--problems", "8", "--steps", "0", "--family", "plain")
USAGE, INPUT, DEVICE, OUTPUT = 2, 3, 4, 7
NET = """
<ir_version: 10, opset_import: ["" : 17]>
net (float[batch,3,32,32] x) => (float[batch,10] y)
<float[64,3,3,3] w1, float[64,64,3,3] w2, float[10,64] w3> {
  conv1 = Conv<pads = [1, 1, 1, 1]>(x, w1)
  relu1 = Relu(conv1)
  conv2 = Conv<strides = [2, 2]>(relu1, w2)
  relu2 = Relu(conv2)
  pool = GlobalAveragePool(relu2)
  flat = Flatten(pool)
  y = Gemm<transB = 1>(flat, w3)
}
"""
PLAIN = """
<ir_version: 10, opset_import: ["" : 17]>
net (int64[4] x) => (int64[4] y) { y = Add(x, x) }
"""


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*TINY, *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    proto = onnx.parser.parse_model(NET)
    for value in proto.graph.value_info:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        count = 4 * int(np.prod(shape))
        tensor = onnx.helper.make_tensor(value.name, 1, shape, bytes(count), raw=True)
        proto.graph.initializer.append(tensor)
    del proto.graph.value_info[:]
    onnx.save(proto, path)
    return path


def test_what_help_says_is_what_there_is() -> None:
    assert tuple(Family) == train_policy.FAMILIES
    assert train_policy.SHIPPED == SHIPPED


def test_a_model_and_devices_by_either_spelling(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.safetensors"
    devices = ("--device", "jetson_orin_nano", "--devices", "a100")
    assert run(model, *devices, "-o", path, "--json", "-q") == 0
    said = json.loads(capsys.readouterr().out)
    training = read_policy(path).training
    assert training.devices == ("jetson_orin_nano", "a100_sxm_40gb") == tuple(said["devices"])
    assert str(model) in training.command
    assert said["command"] == training.command
    assert said["figures"]["share_mean"] == training.figures["share_mean"]


def test_it_says_how_good_the_policy_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.safetensors"
    assert run("--device", "jetson_orin_nano", "-o", path) == 0
    said = capsys.readouterr()
    assert "of the exact solver's gain" in said.out
    assert "solve (16)" in said.err


@pytest.mark.parametrize(
    "case",
    [
        (("--device", "toaster"), DEVICE, "unknown device 'toaster'"),
        (("none.onnx",), INPUT, "none.onnx"),
        (("--problems", "3"), USAGE, "3 is not in the range"),
        (("--family", "modern"), USAGE, "'modern' is not one of"),
        (("-o", "none/own.safetensors"), OUTPUT, "none"),
    ],
    ids=["device", "model", "problems", "family", "output"],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: tuple[tuple[str, ...], int, str],
) -> None:
    arguments, code, reason = case
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == code
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "error" in x]
    assert reason in line
    assert not list(tmp_path.iterdir())


def test_a_model_without_choices_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plain.onnx"
    onnx.save(onnx.parser.parse_model(PLAIN), path)
    assert run(path, "-o", tmp_path / "own") == INPUT
    assert "nothing to choose on" in capsys.readouterr().err
