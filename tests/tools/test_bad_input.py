"""What `hwc compile` refuses: one line, the documented exit code, nothing left behind."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hwc.toolchain.device import resolve
from onnx import numpy_helper
from PIL import Image

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Desk

USAGE, INPUT, DEVICE, CONSTRAINT, OUTPUT = 2, 3, 4, 6, 7
PICTURES = "resize=16 crop=16"
USER = """
import numpy as np
def raises(*_): raise KeyError("logits")
def nan(*_): return float("nan")
def text(*_): return "good"
def leaves(*_): raise SystemExit(0)
def camera():
    yield {"x": np.zeros((3, 16, 16), np.float32)}
    raise RuntimeError("the camera is off")
def nothing(): return ()
def number(): return 7
"""


def spoilt(spoil: Callable[[onnx.ModelProto], None]) -> str:
    """The name of a model file with a fault."""
    model = onnx.load("model.onnx")
    spoil(model)
    onnx.save(model, "bad.onnx")
    return "bad.onnx"


def cycle(model: onnx.ModelProto) -> None:
    model.graph.node[2].input[0] = "conv3"


def unknown_op(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Konv"


def dangling(model: onnx.ModelProto) -> None:
    model.graph.node[3].input[0] = "gone"


def wrong_weight_shape(model: onnx.ModelProto) -> None:
    model.graph.initializer[3].CopyFrom(numpy_helper.from_array(np.ones((4, 60), "f4"), "w4"))


def wrong_channels(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.ones((64, 9, 3, 3), "f4"), "w2"))


def wrong_output_shape(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7


def too_few_values(model: onnx.ModelProto) -> None:
    model.graph.initializer[3].dims[0] = 5


def not_a_number(model: onnx.ModelProto) -> None:
    model.graph.initializer[3].CopyFrom(
        numpy_helper.from_array(np.full((4, 64), np.nan, "f4"), "w4")
    )


def outside(location: str, content: bytes | None = None) -> Callable[[onnx.ModelProto], None]:
    """Move a weight into a file."""

    def spoil(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[2]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        if content is not None:
            Path(location).write_bytes(content)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(cycle, ["bad.onnx has a cycle", "conv2", "conv3"], id="cycle"),
        pytest.param(unknown_op, ["unknown op Konv", "conv1", "did you mean Conv?"], id="op"),
        pytest.param(dangling, ["relu2", "'gone'", "nothing produces"], id="dangling"),
        pytest.param(wrong_weight_shape, ["bad.onnx", "Gemm", "60", "64"], id="weight shape"),
        pytest.param(
            wrong_channels,
            ["bad.onnx does not run", "conv2", "16", "9"],
            id="channels",
        ),
        pytest.param(wrong_output_shape, ["bad.onnx", "(4) vs (7)"], id="output shape"),
        pytest.param(too_few_values, ["'w4'", "[5, 64]", "damaged"], id="too few values"),
        pytest.param(not_a_number, ["NaN", "'y'", "sample 0"], id="NaN"),
        pytest.param(outside("w.bin"), ["'w3'", "put w.bin beside the model"], id="no data file"),
        pytest.param(
            outside("../w.bin"), ["'../w.bin'", "outside the model's folder"], id="leaves"
        ),
        pytest.param(outside("/etc/passwd"), ["'/etc/passwd'", "outside"], id="absolute"),
        pytest.param(outside("w.bin", b"cut"), ["w.bin ends at byte 3", "'w3'"], id="short data"),
    ],
)
def test_a_graph_with_a_fault(
    desk: "Desk", spoil: Callable[[onnx.ModelProto], None], words: list[str]
) -> None:
    line = desk.refuses(*desk.compiling("--data", "data.npz", model=spoilt(spoil)), code=INPUT)
    assert all(word in line for word in words), line


def zipped(path: Path, member: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"\x80\x02}.")


def whole() -> bytes:
    return Path("model.onnx").read_bytes()


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        pytest.param("m.onnx", lambda _: None, ["there is no file m.onnx"], id="missing"),
        pytest.param("m.onnx", lambda p: p.touch(), ["m.onnx is empty"], id="empty"),
        pytest.param(
            "m.onnx", lambda p: p.write_bytes(whole()[:9000]), ["damaged or truncated"], id="cut"
        ),
        pytest.param(
            "m.onnx",
            lambda p: p.write_bytes(np.random.default_rng(0).bytes(5000)),
            ["m.onnx is not an ONNX file"],
            id="random bytes",
        ),
        pytest.param("m.onnx", lambda p: p.mkdir(), ["is a folder"], id="folder"),
        pytest.param(
            "m.pt",
            lambda path: zipped(path, "archive/data.pkl"),
            ["m.pt is a pickled file", "never opened", ".pt2"],
            id="pickled .pt",
        ),
        pytest.param(
            "m.pth", lambda p: p.write_bytes(b"\x80\x02}."), ["pickled", "--input"], id="old pickle"
        ),
        pytest.param("m.onnx", lambda path: zipped(path, "x.npy"), ["a zip archive"], id="npz"),
        pytest.param("gone:build", lambda _: None, ["no module 'gone'"], id="no module"),
    ],
)
def test_what_is_no_model(
    desk: "Desk", name: str, make: Callable[[Path], object], words: list[str]
) -> None:
    make(Path(name))
    line = desk.refuses(*desk.compiling(model=name), code=INPUT)
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda x: {"image": x}, ["arrays image", "inputs x"], id="names"),
        pytest.param(lambda x: {"x": x[:, :2]}, ["[2, 16, 16]", "[batch, 3, 16, 16]"], id="shape"),
        pytest.param(lambda x: {"x": x.astype("c8")}, ["complex64", "float32"], id="type"),
        pytest.param(lambda x: {"x": np.where(x > 2, np.nan, x)}, ["x holds NaN"], id="NaN"),
        pytest.param(lambda x: {"x": np.where(x > 2, np.inf, x)}, ["infinite"], id="infinite"),
        pytest.param(lambda x: {"x": x[:0]}, ["bad.npz holds no samples"], id="zero samples"),
        pytest.param(lambda x: {"x": x, "label": [1, 2]}, ["x 24, label 2"], id="few labels"),
        pytest.param(lambda x: {"x": x, "label": [9] * 24}, ["[9]", "(0 to 3)"], id="no class"),
        pytest.param(
            lambda x: {"x": x, "label": [0.5] * 24}, ["integer", "float64"], id="no integer"
        ),
        pytest.param(lambda _: {"x": np.array([{}])}, ["pickled objects"], id="pickled"),
    ],
)
def test_data_that_does_not_fit(
    desk: "Desk", change: Callable[[np.ndarray], dict[str, object]], words: list[str]
) -> None:
    with np.load("data.npz") as good:
        arrays = change(good["x"])
    np.savez("bad.npz", **arrays)  # type: ignore[arg-type] # any array
    metric = "top1" if "label" in arrays else "auto"
    line = desk.refuses(*desk.compiling("--data", "bad.npz", "--metric", metric), code=INPUT)
    assert all(word in line for word in words), line


def pictures(folder: str, size: int) -> None:
    Path(folder).mkdir()
    Image.new("RGB", (size, size)).save(Path(folder) / "a.png")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--data", "gone.npz"], INPUT, ["no such data: gone.npz"]),
        (["--data", "model.onnx"], INPUT, ["cannot read model.onnx", "npz"]),
        (["--data", "empty"], INPUT, ["empty holds no npz, npy or picture files"]),
        (["--data", "data.npz", "--samples", "25"], INPUT, ["24 samples, 25 were asked for"]),
        (["--data", "user.py:camera", "--samples", "9"], INPUT, ["the camera is off", "line 9"]),
        (["--data", "user.py:nothing"], INPUT, ["user.py:nothing holds no samples"]),
        (["--data", "user.py:number"], INPUT, ["user.py:number returned 7", "yield"]),
        (["--data", "photos"], USAGE, ["photos holds pictures", "--preprocess"]),
        (["--data", "photos", "--preprocess", "rezise=9"], USAGE, ["'rezise'", "resize="]),
        (["--data", "photos", "--preprocess", "crop=big"], USAGE, ["'big' is not a size"]),
        (["--data", "photos", "--preprocess", "crop=99"], INPUT, ["a.png is 20x20", "crop"]),
        (["--data", "data.npz", "--preprocess", PICTURES], USAGE, ["data.npz holds arrays"]),
        (["--data", "broken", "--preprocess", PICTURES], INPUT, ["a.png"]),
        (["--data", "data.npz", "--eval", "gone.npz"], INPUT, ["no such data: gone.npz"]),
        (["--eval", "data.npz"], USAGE, ["--eval is given, but no data"]),
        (["--samples", "3"], USAGE, ["--samples is given, but no data"]),
        (["--data", "one.npz", "--metric", "top1"], USAGE, ["--metric top1 needs labels"]),
        (["--data", "data.npz", "--metric", "top3"], USAGE, ["unknown metric 'top3'", "top5"]),
        (
            ["--data", "data.npz", "--metric", "user.py:raises"],
            INPUT,
            ["KeyError", "user.py line 3"],
        ),
        (["--data", "data.npz", "--metric", "user.py:nan"], INPUT, ["user.py:nan returned nan"]),
        (["--data", "data.npz", "--metric", "user.py:text"], INPUT, ["returned 'good'"]),
        (["--data", "data.npz", "--metric", "user.py:leaves"], INPUT, ["SystemExit", "line 6"]),
        (["--data", "data.npz", "--metric", "user.py:gone"], INPUT, ["has no function 'gone'"]),
        (["--device", "jetson_orinn"], DEVICE, ["'jetson_orinn'", "did you mean 'jetson_orin'?"]),
        (["--device", "gone.yaml"], DEVICE, ["gone.yaml does not exist"]),
        (["--device", "jetson_orin", "--power-mode", "31W"], DEVICE, ["'31W'", "30W"]),
        (["--precision", "int9"], USAGE, ["'int9'", "int8"]),
        (["--precision", ""], USAGE, ["--precision", "int8"]),
        (["--precision", "bf16", "--device", "dcu"], USAGE, ["dcu_k100_ai does not run bf16"]),
        (["--input", "1x3x"], USAGE, ["'1x3x' is not a shape"]),
        (["--input", "z=1x3x16x16"], INPUT, ["no input 'z'", "x"]),
        (["--input", "1x3x17x17"], INPUT, ["[batch,3,16,16]", "1x3x17x17"]),
        (["--max-drop", "200%"], USAGE, ["--max-drop '200%'", "1%"]),
        (["--max-drop", "nan"], USAGE, ["--max-drop 'nan'"]),
        (["--max-latency", "nan"], USAGE, ["--max-latency", "not a finite number"]),
        (["--max-size", "inf"], USAGE, ["--max-size", "not a finite number"]),
        (["--max-size", "-1"], USAGE, ["--max-size", "-1.0 is not in the range"]),
        (["--seed", "-1"], USAGE, ["--seed", "-1"]),
        (["--data", "data.npz", "--table", "user.py"], INPUT, ["user.py", "not a database"]),
        (["--max-latency", "1e-6"], CONSTRAINT, ["1e-06 ms", "the nearest has a predicted"]),
        (["--max-size", "1e-9"], CONSTRAINT, ["the nearest has", "MB", "--max-size"]),
        (["--data", "data.npz", "--max-size", "0.01"], CONSTRAINT, ["0.01 MB", "the nearest has"]),
        (["-o", "user.py"], OUTPUT, ["user.py: exists already", "--force"]),
        (["-o", "model.onnx", "--force"], OUTPUT, ["model.onnx: is a file but not a bundle"]),
        (["-o", "data.npz", "--force"], OUTPUT, ["data.npz: is a file but not a bundle"]),
        (["-o", "photos", "--force"], OUTPUT, ["photos: is a folder but not a bundle"]),
        (["-o", "gone/out.hwc"], OUTPUT, ["there is no folder", "create it"]),
        (["-o", "/proc/out.hwc"], OUTPUT, ["/proc/out.hwc: cannot be written"]),
        (["-o", "x" * 250], OUTPUT, ["name too long"]),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_options_that_cannot_be_met(
    desk: "Desk", options: list[str], code: int, words: list[str]
) -> None:
    Path("user.py").write_text(USER)
    Path("empty").mkdir()
    pictures("photos", 20)
    Path("broken").mkdir()
    Path("broken/a.png").write_bytes(b"not a picture")
    line = desk.refuses(*desk.compiling(*options), code=code)
    assert all(word.lower() in line.lower() for word in words), line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            lambda text: f"{text}\nclokc: 1300\n", ["'clokc'", "did you mean 'clock'?"], id="key"
        ),
        pytest.param(
            lambda text: text.replace("bandwidth: {value: ", "bandwidth: {value: -", 1),
            ["'bandwidth.value' is -", "give a number from"],
            id="negative",
        ),
        pytest.param(lambda _: "name: [board", ["not YAML", "(line 1)"], id="no YAML"),
        pytest.param(lambda _: "", ["board.yaml"], id="empty"),
    ],
)
@pytest.mark.parametrize("command", ["compile", "devices"])
def test_a_profile_with_a_fault(
    desk: "Desk", change: Callable[[str], str], words: list[str], command: str
) -> None:
    good = Path(resolve.__code__.co_filename).parents[1] / "device_profiles/jetson_orin_nx.yaml"
    text = good.read_text().replace("name: jetson_orin_nx", "name: board", 1)
    assert change(text) != text
    Path("board.yaml").write_text(change(text))
    asked = {
        "compile": desk.compiling("--device", "board.yaml"),
        "devices": ("devices", "board.yaml"),
    }
    line = desk.refuses(*asked[command], code=DEVICE)
    assert line.startswith("board.yaml")
    assert all(word in line for word in words), line


def test_an_existing_bundle_stays_as_it_is_when_its_successor_fails(desk: "Desk") -> None:
    shutil.copytree("host.hwc", "out.hwc")
    desk.refuses(*desk.compiling("-o", "out.hwc"), code=OUTPUT)
    asked = desk.compiling("-o", "out.hwc", "--force", "--max-latency", "1e-6")
    desk.refuses(*asked, code=CONSTRAINT)
