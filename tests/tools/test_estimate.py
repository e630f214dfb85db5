"""`hwc estimate`: what it prints, where figures come from, graphs without weights, bad input."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.parser
import pytest
from hwc.toolchain.device import load_profile, profile_names
from hwc.toolchain.plan import Precision
from hwc.tools.cli import main
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Desk

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "bench" / "dev" / "models"
NET = """
<ir_version: 10, opset_import: ["" : 17]>
net (float[batch,3,32,32] x) => (float[batch,10] y)
<float[64,3,3,3] w1, float[64] b1, float[64] s, float[64] o, float[64] m, float[64] v,
 float[128,64,3,3] w2, float[128,128,3,3] w3, float[10,128] w4, float[10] b4> {
  conv1 = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
  norm1 = BatchNormalization(conv1, s, o, m, v)
  relu1 = Relu(norm1)
  conv2 = Conv<strides = [2, 2]>(relu1, w2)
  relu2 = Relu(conv2)
  conv3 = Conv<pads = [1, 1, 1, 1]>(relu2, w3)
  sum = Add(conv3, relu2)
  pool = GlobalAveragePool(sum)
  flat = Flatten(pool)
  y = Gemm<transB = 1>(flat, w4, b4)
}
"""
WEIGHTS = ("w1", "b1", "s", "o", "m", "v", "w2", "w3", "w4", "b4")
USAGE, INPUT, DEVICE = 2, 3, 4


def weighty() -> onnx.ModelProto:
    """The net with made-up weights."""
    proto = onnx.parser.parse_model(NET)
    rng = np.random.default_rng(0)
    for value in proto.graph.value_info:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        array = rng.uniform(0.1, 1, shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, value.name))
    del proto.graph.value_info[:]
    return proto


def whole(path: Path) -> None:
    onnx.save(weighty(), path)


def without_data_file(path: Path) -> None:
    data = path.with_suffix(".data")
    onnx.save(weighty(), path, save_as_external_data=True, location=data.name, size_threshold=8)
    data.unlink()


def without_values(path: Path) -> None:
    proto = weighty()
    for tensor in proto.graph.initializer:
        tensor.ClearField("raw_data")
    onnx.save(proto, path)


def as_inputs(path: Path) -> None:
    proto = weighty()
    for tensor in proto.graph.initializer:
        proto.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    del proto.graph.initializer[:]
    onnx.save(proto, path)


class Bench:
    """A folder with the net, from which `hwc estimate` is called."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: object) -> tuple[object, str, str]:
        """Exit code, stdout and stderr of `hwc estimate net.onnx ...`."""
        self._capture.readouterr()
        words = list(map(str, arguments))
        if not words or words[0].startswith("-"):
            words.insert(0, "net.onnx")
        with pytest.raises(SystemExit) as end:
            main(["estimate", *words])
        return (end.value.code, *self._capture.readouterr())

    def json(self, *arguments: object) -> dict[str, Any]:
        """What it says in JSON."""
        code, out, err = self(*arguments, "--json")
        assert (code, err) == (0, "")
        body: dict[str, Any] = json.loads(out)
        return body


@pytest.fixture
def estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    """The net in a working folder, and no latency tables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    whole(Path("net.onnx"))
    return Bench(capsys)


def plans(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The plans of the only device, by name."""
    (device,) = body["devices"]
    return {plan["precision"]: plan for plan in device["plans"]}


def test_a_row_for_each_precision_that_runs_and_differs(estimate: Bench) -> None:
    body = estimate.json("--device", "jetson_orin")
    assert list(plans(body)) == ["fp32", "fp16", "bf16", "int8", "int4"]
    counts = {name: plan["kernels_by_precision"] for name, plan in plans(body).items()}
    assert counts["fp16"] == {"fp16": 7}
    assert counts["int4"] == {"fp32": 6, "int4": 1}


def test_figures_say_unit_source_and_error(estimate: Bench) -> None:
    body = estimate.json("--device", "jetson_orin", "-v")
    profile = load_profile("jetson_orin")
    assert profile.error is not None
    for plan in plans(body).values():
        latency, memory = plan["latency"], plan["memory"]
        assert (latency["unit"], latency["origin"]) == ("us", "estimated")
        assert profile.error.low.source in latency["source"]
        assert latency["low"] == pytest.approx(latency["value"] * profile.error.low.value)
        assert latency["high"] == pytest.approx(latency["value"] * profile.error.high.value)
        assert (memory["unit"], memory["origin"], memory["fits"]) == ("B", "estimated", True)
        energy = plan["energy"]
        assert (energy["unit"], energy["origin"]) == ("J", "estimated")
        assert energy["low"] <= energy["value"] <= energy["high"]
        assert "power model of profile jetson_agx_orin" in energy["source"]
        parts = [kernel["value"] for kernel in plan["kernels"]]
        parts += [plan["conversions"]["value"], plan["fixed"]["value"]]
        assert sum(parts) == pytest.approx(latency["value"])
        assert {kernel["bound"] for kernel in plan["kernels"]} <= {
            None,  # runs inside another kernel
            *("compute", "bandwidth", "launch"),
        }


def test_memory_counts_weights_and_what_lives_at_once(estimate: Bench) -> None:
    memory = plans(estimate.json("--device", "jetson_orin"))["fp32"]["memory"]
    weights = 64 * 27 + 64 + 128 * 64 * 9 + 128 * 128 * 9 + 10 * 128 + 10
    # The input and the output; at the second convolution what it reads and what it writes.
    lives = 3 * 32 * 32 + 10 + 64 * 32 * 32 + 128 * 15 * 15
    assert memory["activations"] == 4 * lives
    assert memory["weights"] == pytest.approx(4 * weights, rel=0.01)
    assert memory["peak_at"] == "conv2"


@pytest.mark.parametrize("make", [without_data_file, without_values, as_inputs])
@pytest.mark.parametrize("device", ["jetson_orin", "ascend", "dcu", "host"])
def test_a_graph_without_weights_gives_the_same_figures(
    make: Callable[[Path], None], device: str, estimate: Bench
) -> None:
    known = estimate.json("--device", device, "-v")
    make(Path("bare.onnx"))
    found = estimate.json("bare.onnx", "--device", device, "-v")
    assert found["devices"] == [
        {**one, "plans": json.loads(json.dumps(one["plans"]))} for one in known["devices"]
    ]
    assert found["notes"] == ["10 weights are not in bare.onnx: their shapes stand in for them"]


@pytest.mark.parametrize("name", ["efficientnet_lite0", "minilm_l6", "silero_vad_16k"])
def test_real_models_without_weights_give_the_same_figures(name: str, estimate: Bench) -> None:
    path = SHARED / f"{name}.onnx"
    if not path.exists():
        pytest.skip("the development models are not beside the checkout")
    shapes = {
        "minilm_l6": ["--input", "input_ids=1x64", "--input", "attention_mask=1x64"],
        "silero_vad_16k": ["--input", "input=1x512"],
    }.get(name, [])
    known = estimate.json(path, "--device", "jetson_orin", *shapes)
    proto = onnx.load(path)
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.raw_data) > 256:
            tensor.ClearField("raw_data")
    onnx.save(proto, "bare.onnx")
    found = estimate.json("bare.onnx", "--device", "jetson_orin", *shapes)
    assert found["devices"] == known["devices"]


def test_a_table_that_has_every_kernel_makes_it_measured(desk: "Desk") -> None:
    ended = desk.hwc("estimate", "model.onnx", "--table", desk.table, "--json", "-v")
    for name, plan in plans(json.loads(ended.out)).items():
        latency = plan["latency"]
        assert latency["origin"] == "measured", name
        assert latency["low"] <= latency["value"] <= latency["high"]
        assert latency["source"].startswith("table of host, onnxruntime ")
        assert {kernel["origin"] for kernel in plan["kernels"]} == {"measured"}


@pytest.mark.parametrize(
    ("arguments", "origin", "source"),
    [
        (["--device", "jetson_orin"], "estimated", "profile jetson_agx_orin"),
        (["--batch", "7"], "borrowed", "table of host"),
    ],
    ids=["another device", "other kernels"],
)
def test_what_a_table_does_not_have(
    arguments: list[str], origin: str, source: str, desk: "Desk"
) -> None:
    ended = desk.hwc("estimate", "model.onnx", "--table", desk.table, "--json", *arguments)
    for plan in plans(json.loads(ended.out)).values():
        latency = plan["latency"]
        assert (latency["origin"], latency["source"][: len(source)]) == (origin, source)
        assert latency["low"] < latency["value"] < latency["high"]


def test_energy_goes_with_the_power_mode_and_may_not_be_known(estimate: Bench) -> None:
    full = plans(estimate.json("--device", "jetson_orin"))["fp32"]
    low = plans(estimate.json("--device", "jetson_orin", "--power-mode", "15W"))["fp32"]
    watts = low["energy"]["value"] / (low["latency"]["value"] * 1e-6)
    assert 0 < watts <= 15
    assert watts < full["energy"]["value"] / (full["latency"]["value"] * 1e-6)
    assert plans(estimate.json("--device", "dcu"))["fp32"]["energy"] is None
    assert "not known" in estimate("--device", "dcu")[1]


def test_all_devices(estimate: Bench) -> None:
    body = estimate.json("--device", "all")
    assert [device["device"] for device in body["devices"]] == list(profile_names())
    assert body["failed"] == {}
    for device in body["devices"]:
        runs = set(load_profile(device["device"]).precisions)
        named = {plan["precision"] for plan in device["plans"]} | set(device["refused"])
        assert named - {"int8+fp16"} == set(Precision)
        assert set(device["refused"]) >= set(map(str, Precision)) - runs


def test_all_devices_in_a_table(estimate: Bench) -> None:
    code, out, _ = estimate("--device", "all")
    assert code == 0
    for name in profile_names():
        assert f" {name} " in out
    assert "no fp32 on ascend_310, ascend_310p, ascend_910b: it does not run there" in out
    assert "memory: weights and activations, estimated" in out


def test_a_device_that_the_model_cannot_be_written_for_does_not_stop_the_others(
    estimate: Bench, tmp_path: Path
) -> None:
    """Ascend reads opsets up to 18, and DeformConv came with 19."""
    proto = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 19]>
        new (float[1,8,16,16] x, float[1,18,16,16] offset) => (float[1,8,16,16] y)
        { y = DeformConv<pads = [1, 1, 1, 1]>(x, w, offset) }
    """)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((8, 8, 3, 3), "f4"), "w"))
    onnx.save(proto, tmp_path / "new.onnx")
    body = estimate.json("new.onnx", "--device", "all")
    ascend = {name for name in profile_names() if name.startswith("ascend")}
    assert set(body["failed"]) == ascend
    assert all("DeformConv" in why for why in body["failed"].values())
    assert {device["device"] for device in body["devices"]} == set(profile_names()) - ascend
    assert estimate("new.onnx", "--device", "ascend")[0] == INPUT


def test_verbose_shows_each_kernel(estimate: Bench) -> None:
    code, out, _ = estimate("--device", "jetson_orin", "--precision", "int8", "-v")
    assert code == 0
    for name, op in (("conv1", "Conv"), ("sum", "Add"), ("y", "Gemm")):
        row = next(line for line in out.splitlines() if line.split()[1:2] == [name])
        assert op in row
        assert "int8" in row
        assert "estimated" in row
        assert any(bound in row for bound in ("compute", "bandwidth", "launch"))


def test_the_batch_and_the_shape(estimate: Bench) -> None:
    one = plans(estimate.json("--device", "jetson_orin"))["fp32"]
    body = estimate.json("--device", "jetson_orin", "--batch", 64)
    assert body["inputs"] == {"x": [64, 3, 32, 32]}
    many = plans(body)["fp32"]
    assert many["latency"]["value"] > 4 * one["latency"]["value"]
    assert many["memory"]["activations"] == 64 * one["memory"]["activations"]
    assert many["memory"]["weights"] == one["memory"]["weights"]
    given = estimate.json("--device", "jetson_orin", "--input", "64x3x32x32")
    assert plans(given) == plans(body)


def test_a_power_mode_is_slower(estimate: Bench) -> None:
    full = estimate.json("--device", "jetson_orin")
    low = estimate.json("--device", "jetson_orin", "--power-mode", "15W")
    assert low["devices"][0]["power_mode"] == "15W"
    for name, plan in plans(low).items():
        assert plan["latency"]["value"] > plans(full)[name]["latency"]["value"]


def test_2_4_sparsity_is_used_where_it_is_faster(estimate: Bench) -> None:
    dense = plans(estimate.json("--device", "jetson_orin", "-v"))["fp16"]
    body = estimate.json("--device", "jetson_orin", "--sparsity", "2:4", "-v")
    assert body["sparsity"] == "2:4"
    sparse = plans(body)["fp16"]
    pairs = list(zip(dense["kernels"], sparse["kernels"], strict=True))
    faster = [after["node"] for before, after in pairs if after["value"] < before["value"]]
    assert faster == [kernel["node"] for kernel in sparse["kernels"] if kernel["sparsity"]]
    assert "y" in faster
    assert sparse["latency"]["value"] < dense["latency"]["value"]
    assert sparse["memory"]["weights"] < dense["memory"]["weights"]


def test_plans_can_be_named(estimate: Bench) -> None:
    body = estimate.json("--device", "ascend", "--precision", "int8,int8+fp16")
    assert list(plans(body)) == ["int8", "int8+fp16"]


def test_what_does_not_fit_is_said(estimate: Bench) -> None:
    _, out, _ = estimate("--device", "jetson_orin_nano", "--precision", "fp32", "--batch", 40000)
    assert "does not fit" in out
    body = estimate.json("--device", "jetson_orin_nano", "--precision", "fp32", "--batch", 40000)
    assert plans(body)["fp32"]["memory"]["fits"] is False


def test_a_short_name_says_what_it_stands_for(estimate: Bench) -> None:
    assert "dcu is dcu_k100_ai (Hygon DCU K100 AI)\n" in estimate("--device", "dcu")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["gone.onnx"], INPUT, "there is no file gone.onnx"),
        (["text.onnx"], INPUT, "text.onnx is not an ONNX file"),
        (["free.onnx"], USAGE, "--input x=1x3x64"),
        (["shapeless.onnx"], INPUT, "input 'x' has no shape"),
        (["unknown.onnx"], INPUT, "does not follow from the graph"),
        (["--device", "jetson"], DEVICE, "did you mean 'jetson_orin"),
        (["--device", "ascend", "--precision", "bf16"], USAGE, "it runs fp16, int8"),
        (["--device", "a100", "--precision", "int7"], USAGE, "there is no 'int7'"),
        (["--device", "a100", "--precision", ""], USAGE, "there is no ''"),
        (["--device", "jetson_orin", "--power-mode", "5W"], DEVICE, "15W"),
        (["--device", "all", "--power-mode", "15W"], USAGE, "--power-mode is of one device"),
        (["--device", "dcu", "--sparsity", "2:4"], USAGE, "these do: a100_pcie_80gb"),
        (["--sparsity", "4:8"], USAGE, "'4:8'"),
        (["--batch", "0"], USAGE, "--batch"),
        (["--batch", "2", "--input", "1x3x32x32"], USAGE, "no input has a free batch size"),
        (["--input", "1x3"], INPUT, "not 1x3"),
        (["--input", "z=1x3x32x32"], INPUT, "no input 'z'"),
        (["--table", "gone.sqlite"], INPUT, "no latency table at gone.sqlite"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(arguments: list[str], code: int, says: str, estimate: Bench) -> None:
    Path("text.onnx").write_text("no model")
    for name, text in {
        "free": "g (float[n,3,w] x) => (float[n,3,w] y) { y = Relu(x) }",
        "shapeless": "g (float[1,4] x) => (float y) { y = Relu(x) }",
        "unknown": "g (float[1,4] x) => (float y) { h = my.Op(x) y = Relu(h) }",
    }.items():
        head = '<ir_version: 10, opset_import: ["" : 17, "my" : 1]>'
        proto = onnx.parser.parse_model(head + text)
        if name == "shapeless":
            proto.graph.input[0].type.tensor_type.ClearField("shape")
        onnx.save(proto, f"{name}.onnx")
    before = sorted(Path().iterdir())
    ended, out, err = estimate(*arguments)
    assert (ended, out) == (code, "")
    assert says in err
    assert err.startswith("hwc: error: ")
    assert err.count("\n") == 1
    assert sorted(Path().iterdir()) == before


def test_help_needs_no_model_library() -> None:
    script = (
        "import sys\n"
        "from hwc.tools.cli import main\n"
        "try:\n    main(['estimate', '--help'])\n"
        "finally:\n    print(sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    for name in ("numpy", "onnx", "onnx_ir", "rich"):
        assert f"'{name}'" not in done.stderr
    assert "--sparsity" in done.stdout
