"""`hwc profile MODEL` and `check`: real measurements of a small network, resumed and compared."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result
from hwc.toolchain.errors import DeviceError, HwcError, InputError, StaleError, UsageError
from hwc.toolchain.latency.rows import MeasuredBuild
from hwc.toolchain.latency.table import LatencyTable
from hwc.tools import checking
from hwc.tools.stages import price
from onnx.parser import parse_model as parse_graph

Call = Callable[..., Result]
NET = """
<ir_version: 10, opset_import: ["" : 18]>
net (float[1,8,16,16] x) => (float[1,8,16,16] y)
<float[8,8,3,3] w1 = {WEIGHTS}, float[8,8,3,3] w2 = {WEIGHTS}>
{
    a = Conv <pads: ints = [1,1,1,1]> (x, w1)
    b = Relu (a)
    c = Conv <pads: ints = [1,1,1,1]> (b, w2)
    y = Add (c, b)
}
""".replace("WEIGHTS", ", ".join(f"{(i * 7) % 11 / 11 - 0.5:.3f}" for i in range(576)))
BUILDS = 3  # fp32, int8 and a mixed one: the other mixed probe is one of these


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small network; builds are timed shortly, and caches are in it."""
    onnx.save(parse_graph(NET), tmp_path / "net.onnx")
    monkeypatch.setattr(price, "RUNS", 4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def profile(call: Call, place: Path, *more: object) -> Result:
    """Measure the network into a table."""
    model, table = place / "net.onnx", place / "t.sqlite"
    return call("profile", model, "--table", table, "--probes", 2, "--checks", 1, "-q", *more)


def builds(place: Path) -> tuple[MeasuredBuild, ...]:
    """What the table holds, whole builds only."""
    with LatencyTable.open(place / "t.sqlite") as table:
        (setting,) = table.settings()
        return table.observations(setting)


def test_every_kernel_in_every_choice(call: Call, place: Path) -> None:
    result = profile(call, place, "--json")
    assert result.exception is None
    (found,) = json.loads(result.stdout)
    assert (found["builds"], found["known"], found["checked"]) == (BUILDS, 0, 1)
    assert found["error"] >= 0.0
    measured = builds(place)
    assert len(measured) == BUILDS
    assert {Path(build.build.path) for build in measured} == {place / "net.onnx"}
    choices = {row.choice for build in measured for row in build.kernels}
    assert {"fp32", "int8", "fixed"} <= choices
    conv = [r for b in measured for r in b.kernels if r.key.startswith("Conv") and r.choice]
    assert all(row.timing.median_us > 0.0 for row in conv)
    assert all(row.work.macs > 0 for row in conv)


def test_what_is_there_is_not_measured_again(call: Call, place: Path) -> None:
    profile(call, place)
    before = builds(place)
    (again,) = json.loads(profile(call, place, "--json").stdout)
    assert (again["builds"], again["known"]) == (0, BUILDS)
    assert builds(place) == before
    (anew,) = json.loads(profile(call, place, "--json", "--remeasure").stdout)
    assert (anew["builds"], anew["known"]) == (BUILDS, 0)
    assert len(builds(place)) == BUILDS


def test_an_interrupted_profile_goes_on_where_it_was(
    call: Call, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = price.store, iter(range(BUILDS))

    def interrupted(*arguments: object, **named: object) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(price, "store", interrupted)
    assert profile(call, place).exit_code != 0
    kept = builds(place)
    assert len(kept) == 2
    monkeypatch.setattr(price, "store", real)
    (found,) = json.loads(profile(call, place, "--json").stdout)
    assert (found["builds"], found["known"]) == (BUILDS - 2, 2)
    assert set(kept) <= set(builds(place))


def test_killed_in_the_middle_it_loses_the_build_in_flight_alone(call: Call, place: Path) -> None:
    table = place / "t.sqlite"
    start = "import sys; from hwc.tools.cli import main; main(sys.argv[1:])"
    words = ["profile", place / "net.onnx", "--table", table, "--probes", 40, "-q"]
    running = subprocess.Popen([sys.executable, "-c", start, *map(str, words)])
    deadline = time.monotonic() + 60
    while not (table.exists() and len(_quietly(place)) >= 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    kept = builds(place)
    assert len(kept) >= 2
    assert all(build.kernels for build in kept)
    (found,) = json.loads(profile(call, place, "--json").stdout)
    assert found["builds"] + found["known"] == BUILDS
    assert set(kept) <= set(builds(place))


def _quietly(place: Path) -> tuple[MeasuredBuild, ...]:
    """What a table holds that another process may be making at this moment."""
    try:
        return builds(place)
    except (InputError, ValueError):
        return ()


def test_a_table_holds_until_the_machine_changes(
    call: Call, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price, "RUNS", 12)
    profile(call, place)
    found = json.loads(
        call("profile", "check", "--table", place / "t.sqlite", "--json", "-q").stdout
    )
    assert [Path(it["model"]) for it in found] == [place / "net.onnx"]
    assert found[0]["drift"]["builds"] == 3

    real = checking.measurements

    def slower(*arguments: object, **named: object) -> object:
        for measured in real(*arguments, **named):  # type: ignore[arg-type]
            yield type(measured)(
                measured.plan,
                *(measured.slots, measured.edges, measured.alone),
                measured.fixed_us,
                measured.total_us * 10.0,
                measured.runs,
            )

    monkeypatch.setattr(checking, "measurements", slower)
    refused = call("profile", "check", place / "net.onnx", "--table", place / "t.sqlite", "-q")
    assert isinstance(refused.exception, StaleError)
    assert "does not hold" in refused.exception.message
    assert "--remeasure" in refused.exception.hint


def test_what_cannot_be_checked(call: Call, place: Path) -> None:
    nothing = call("profile", "check", "-q")
    assert isinstance(nothing.exception, InputError)
    assert "hwc profile MODEL" in nothing.exception.hint
    profile(call, place)
    (place / "net.onnx").rename(place / "other.onnx")
    gone = call("profile", "check", "--table", place / "t.sqlite", "-q")
    assert isinstance(gone.exception, InputError)


def test_a_device_that_is_not_here_says_what_to_do(call: Call, place: Path) -> None:
    refused = call("profile", place / "net.onnx", "--device", "jetson_orin", "-q")
    assert isinstance(refused.exception, DeviceError)
    assert "--from-trtexec" in refused.exception.hint
    assert "--on ssh://" in refused.exception.hint


def test_compile_takes_what_was_measured(call: Call, place: Path) -> None:
    """What `hwc profile` measured need not be measured by `hwc compile`."""
    profile(call, place)
    before = builds(place)
    result = call(
        *("compile", place / "net.onnx", "--table", place / "t.sqlite", "-o", place / "out.hwc"),
        *("--allow-random-calibration", "--max-drop", "100%", "-q", "--json"),
    )
    assert result.exception is None
    assert {build.build.id for build in before} <= {build.build.id for build in builds(place)}


FIXTURES = Path(__file__).parents[1] / "toolchain" / "latency" / "fixtures" / "trtexec"
BLOCK = """
<ir_version: 10, opset_import: ["": 18]>
g (float[1,16,32,32] x) => (float[1,10] y)
<float[16,16,3,3] w1, float[16,16,3,3] w2, float[16,16,1,1] w3, float[10,16] wf, float[10] bf>
{
  [conv1_Conv] a = Conv<pads=[1,1,1,1]>(x, w1)
  [relu1_Relu] r = Relu(a)
  [conv2_Conv] c = Conv<pads=[1,1,1,1]>(r, w2)
  [down_Conv] d = Conv(x, w3)
  [add_Add] s = Add(c, d)
  [relu2_Relu] u = Relu(s)
  [sig_Sigmoid] v = Sigmoid(u)
  [mul_Mul] m = Mul(u, v)
  [gap_GlobalAveragePool] p = GlobalAveragePool(m)
  [flat_Flatten] f = Flatten(p)
  [fc_Gemm] y = Gemm<transB=1>(f, wf, bf)
}
"""


@pytest.fixture
def engine(place: Path) -> list[object]:
    """The words that import an engine of a small block: model, device, and trtexec's two files."""
    proto = parse_graph(BLOCK)
    rng = np.random.default_rng(0)
    for value in proto.graph.value_info:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        weight = rng.standard_normal(shape).astype("f4")
        proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, value.name))
    del proto.graph.value_info[:]
    for node in proto.graph.node:
        node.name = "/" + node.name.replace("_", "/", 1)
    onnx.save(proto, place / "block.onnx")
    files = FIXTURES / "8.6-layers.json", FIXTURES / "8.6-profile.json"
    model, table = place / "block.onnx", place / "t.sqlite"
    device = "--device", "jetson_orin", "--table", table
    return ["profile", model, *device, "--from-trtexec", *files, "-q"]


def test_what_trtexec_measured(call: Call, place: Path, engine: list[object]) -> None:
    result = call(*engine, "--runtime-version", "8.6.1", "--json")
    assert result.exception is None, result.exception
    found = json.loads(result.stdout)
    assert found["counts"].get("fp16", 0) > 0
    with LatencyTable.open(place / "t.sqlite") as table:
        (setting,) = table.settings()
        (build,) = table.observations(setting)
    measured_on = setting.device, setting.runtime, setting.version
    assert measured_on == ("jetson_agx_orin", "tensorrt", "8.6.1")
    assert build.build.total_us == pytest.approx(found["total_us"])


WRONG_IMPORTS = {
    "a device of another runtime": (["--device", "host"], UsageError, "not served by TensorRT"),
    "two models": (["other.onnx"], UsageError, "one MODEL"),
    "no such precision": (["--precision", "fp7"], UsageError, "no 'fp7'"),
}


@pytest.mark.parametrize(("more", "error", "text"), WRONG_IMPORTS.values(), ids=list(WRONG_IMPORTS))
def test_wrong_imports(
    call: Call, engine: list[object], more: list[str], error: type[HwcError], text: str
) -> None:
    result = call(*engine, *more)
    assert isinstance(result.exception, error)
    assert text in str(result.exception)


def test_measuring_again_loses_nothing_on_the_way(
    call: Call, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted, the old rows are still there; let through, the new ones are alone."""
    profile(call, place, "--probes", 6)
    before = {build.build.id: build for build in builds(place)}
    real = price.store

    def interrupted(*arguments: object, **named: object) -> None:
        real(*arguments, **named)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(price, "store", interrupted)
    assert profile(call, place, "--remeasure").exit_code != 0
    after = {build.build.id: build for build in builds(place)}
    assert set(after) == set(before)
    assert sum(after[build] != before[build] for build in before) == 1
    monkeypatch.setattr(price, "store", real)
    profile(call, place, "--remeasure")
    assert len(builds(place)) == BUILDS
