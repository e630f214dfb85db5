"""ONNX Runtime: its dialect, sessions, refusals, external data, and kernels timed in place."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends import ort
from hwc.backends.ort import Options, Ort, Session, integer_kernels, running_graph, time_builds
from hwc.backends.ort_session import open_session
from hwc.toolchain.device import DeviceProfile, load_profile
from hwc.toolchain.engine import Engine, Status
from hwc.toolchain.errors import BackendError
from hwc.toolchain.latency.attribute import attribute
from hwc.toolchain.plan import Precision

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

OPSET = '<ir_version: 10, opset_import: ["" : 21]>'
NET = f"""{OPSET} g (float[1,3,16,16] x) => (float[1,10] y)
<float[8,3,3,3] w1, float[8] b1, float[8,1,3,3] w2, float[16,8,1,1] w3, float[16,16,3,3] w4,
 float[16,10] w5, float[10] b5, int64[2] flat = {{0, -1}}>
{{
    [conv1] c1 = Conv <pads = [1,1,1,1]> (x, w1, b1)
    [relu1] r1 = Relu (c1)
    [conv2] c2 = Conv <group = 8, pads = [1,1,1,1]> (r1, w2)
    [relu2] r2 = Relu (c2)
    [conv3] c3 = Conv (r2, w3)
    [conv4] c4 = Conv <pads = [1,1,1,1]> (c3, w4)
    [add] sum = Add (c3, c4)
    [pool] p = GlobalAveragePool (sum)
    [reshape] row = Reshape (p, flat)
    [gemm] y = Gemm (row, w5, b5)
}}"""
Make = Callable[..., "Subject"]
Parse = Callable[[str], onnx.ModelProto]


@pytest.fixture(scope="module")
def host() -> DeviceProfile:
    return load_profile("host")


@pytest.fixture(scope="module")
def net(subject: Make) -> "Subject":
    return subject(NET)


@pytest.fixture
def saved(net: "Subject", tmp_path: Path) -> Path:
    """The network on disk."""
    path = tmp_path / "model.onnx"
    ir.save(net.model, path)
    return path


def test_the_dialect_of_x86(host: DeviceProfile) -> None:
    dialect = Ort().dialect(replace(host, target="x86_64+avx512_vnni"))
    assert dialect.unsigned_activations
    assert dialect.int32_bias
    assert dialect.quantized_outputs
    assert "Conv" in dialect.ops[Precision.INT8]
    assert Precision.FP16 not in dialect.ops


@pytest.mark.parametrize("target", ["aarch64", "arm64+dotprod", "aarch64+i8mm"])
def test_the_dialect_of_arm_has_signed_activations(host: DeviceProfile, target: str) -> None:
    assert not Ort().dialect(replace(host, target=target)).unsigned_activations


def test_the_dialect_keeps_to_the_opset_of_the_profile(host: DeviceProfile) -> None:
    assert Ort().dialect(replace(host, opset_max=17)).opset_max == 17
    assert Ort().dialect(replace(host, opset_max=99)).opset_max == ort.OPSET_MAX


def test_it_runs_the_host_only(host: DeviceProfile) -> None:
    assert Ort().runs_here(host)
    assert not Ort().runs_here(replace(host, name="another"))


REFUSED = {
    "an operator that does not exist": "y = Frobnicate (x)",
    "types that do not go together": "y = Add (x, i)",
    "shapes that do not go together": "y = MatMul (x, x)",
}


@pytest.mark.parametrize("node", REFUSED.values(), ids=list(REFUSED))
def test_a_refused_graph_is_one_line(parse_graph: Parse, node: str) -> None:
    graph = parse_graph(
        f"{OPSET} g (float[2,3] x) => (float[2,3] y) <int64[2,3] i = {{1,2,3,4,5,6}}> {{ {node} }}"
    )
    with pytest.raises(BackendError, match=r"ONNX Runtime .* refuses the graph") as refusal:
        Session(ir.from_proto(graph))
    assert "\n" not in str(refusal.value)
    assert refusal.value.hint


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(range(256))], ids=len)
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(BackendError, match="refuses the graph"):
        Session(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="refuses the graph"):
        Session(tmp_path / "absent.onnx")


def test_data_that_does_not_fit_is_one_line(net: "Subject") -> None:
    with pytest.raises(BackendError, match="could not run the graph") as refusal:
        Session(net.model)({"x": np.ones((1, 3, 8, 9), np.float32)})
    assert "\n" not in str(refusal.value)


def test_more_arrays_than_inputs_do_no_harm(net: "Subject") -> None:
    feeds = net.samples[0]
    session = Session(net.model)
    assert set(session({**feeds, "label": np.ones(1)})) == {"y"}


def test_the_reference_is_not_rewritten(net: "Subject", tmp_path: Path) -> None:
    paths = tmp_path / "off.onnx", tmp_path / "on.onnx"
    for path, optimise in zip(paths, (False, True), strict=True):
        Session(net.model, Options(threads=1, optimise=optimise, optimised_path=path))
    off, on = (len(onnx.load(path).graph.node) for path in paths)
    assert off == len(net.model.graph) > on


def test_a_simulation_makes_no_integer_kernels(net: "Subject", tmp_path: Path) -> None:
    written = ir.from_proto(net.write(every="int8"))
    kernels = []
    for integers in (True, False):
        path = tmp_path / f"{integers}.onnx"
        Session(written, Options(threads=1, integers=integers, optimised_path=path))
        kernels.append(sum(n.op_type in ort.INTEGER_KERNELS for n in onnx.load(path).graph.node))
    assert kernels[0] > 0 == kernels[1]


def test_check_passes_and_fails(saved: Path, host: DeviceProfile) -> None:
    (passed,) = Ort().check(saved, host)
    assert passed.status is Status.PASSED
    saved.write_bytes(b"not a model")
    (failed,) = Ort().check(saved, host)
    assert failed.status is Status.FAILED
    assert "refuses the graph" in failed.detail


def test_build_and_load(saved: Path, host: DeviceProfile, net: "Subject", tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    engine = Ort().build(saved, host, folder)
    assert engine.files == ("model.onnx",)
    assert engine.target == host.target
    got = Ort().load(folder, engine, 1)(net.samples[0])
    wanted = Session(net.model, Options(threads=1, optimise=False))(net.samples[0])
    np.testing.assert_allclose(got["y"], wanted["y"], rtol=1e-4, atol=1e-5)


def test_there_is_nothing_to_build_on_the_device(saved: Path, host: DeviceProfile) -> None:
    assert Ort().build_commands(saved, host) == ()


@pytest.fixture
def external(net: "Subject", tmp_path: Path) -> Path:
    """The network with its weights in a file beside it."""
    path = tmp_path / "original" / "model.onnx"
    path.parent.mkdir()
    ir.save(net.model.clone(), path, external_data="model.onnx.data", size_threshold_bytes=64)
    assert path.with_name("model.onnx.data").stat().st_size > 0
    return path


def test_external_data_from_a_file_and_in_memory(external: Path, net: "Subject") -> None:
    wanted = Session(net.model)(net.samples[0])["y"]
    np.testing.assert_array_equal(Session(external)(net.samples[0])["y"], wanted)
    loaded = ir.load(external)
    assert any(
        isinstance(v.const_value, ir.ExternalTensor) for v in loaded.graph.initializers.values()
    )
    np.testing.assert_array_equal(Session(loaded)(net.samples[0])["y"], wanted)


def test_external_data_is_part_of_the_engine(
    external: Path, host: DeviceProfile, net: "Subject", tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    engine = Ort().build(external, host, folder)
    assert engine == Engine(
        ("model.onnx", "model.onnx.data"),
        f"onnxruntime {Ort().version()}",
        host.target,
        {"without": "SkipLayerNormFusion,WeightBiasQuantization"},
    )
    assert set(Ort().load(folder, engine)(net.samples[0])) == {"y"}


def test_a_plan_is_written_into_a_graph_with_external_data(external: Path, net: "Subject") -> None:
    writer = type(net.writer)(
        ir.load(external),
        net.slots,
        dialect=net.writer.dialect,
        ranges=net.writer.ranges,
    )
    plan = net.plan(every="int8")
    got = Session(writer.write(plan), Options(threads=1))(net.samples[0])["y"]
    wanted = Session(net.writer.write(plan), Options(threads=1))(net.samples[0])["y"]
    np.testing.assert_array_equal(got, wanted)


def test_what_really_runs(net: "Subject") -> None:
    ops = [node.op_type for node in running_graph(net.model)]
    assert "Relu" not in ops
    assert ops.count("Conv") + ops.count("FusedConv") == 4


def test_integer_kernels_are_counted(net: "Subject", tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(net.write(every="int8"), path)
    assert integer_kernels(path) == 5  # four convolutions and the Gemm
    onnx.save(net.write(), path)
    assert integer_kernels(path) == 0


RUNS = 6


@pytest.mark.parametrize("plan", ["fp32", "int8", "mixed"])
def test_every_kernel_is_timed_and_has_an_owner(net: "Subject", plan: str) -> None:
    precisions = {"conv2": "int8", "conv3": "int8"} if plan == "mixed" else {"every": plan}
    models = [net.writer.write(net.plan(**precisions)), net.model]
    turns: list[None] = []
    build, other = time_builds(models, net.samples[0], runs=RUNS, told=lambda: turns.append(None))
    assert len(turns) == RUNS
    assert build.total_us.shape == other.total_us.shape == (RUNS,)
    assert (build.total_us > 0).all()
    names = [kernel.name for kernel in build.kernels]
    assert len(set(names)) == len(names)
    assert {node.name for node in build.graph} == set(names)
    assert len({len(kernel.us) for kernel in build.kernels}) == 1
    times = [(kernel, float(np.median(kernel.us))) for kernel in build.kernels]
    shares = attribute(times, build.graph, net.slots)
    assert shares.total == pytest.approx(sum(us for _, us in times))
    assert shares.rest == 0.0  # this network has no node beside its slots
    index = {slot.name: i for i, slot in enumerate(net.slots.slots)}
    convolutions = {index[name] for name in ("conv1", "conv2", "conv3", "conv4", "gemm")}
    assert convolutions <= set(shares.slots)
    tensors = {net.slots.edges[i].tensor for i in shares.edges}
    if plan == "mixed":
        assert tensors >= {"r1", "c3"}  # into the two integer kernels, and out of them


def test_nothing_is_left_behind(
    net: "Subject", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    time_builds([net.model, net.model], net.samples[0], runs=2)
    running_graph(net.model)
    assert list(tmp_path.iterdir()) == []


def test_many_sessions_with_profilers_keep_their_events_apart(net: "Subject") -> None:
    builds = time_builds([net.model] * 4, net.samples[0], runs=2)
    counts = [{len(kernel.us) for kernel in build.kernels} for build in builds]
    assert all(len(count) == 1 for count in counts)


def test_an_engine_is_opened_with_its_options(
    external: Path, host: DeviceProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Options] = []

    def note(source: Path, options: Options) -> object:
        opened.append(options)
        return open_session(source, options)

    monkeypatch.setattr(ort, "open_session", note)
    folder = tmp_path / "bundle"
    folder.mkdir()
    engine = Ort().build(external, host, folder)
    for options in (engine.options, None, {}, {"arena": "off", "threads": "1"}):
        Ort().load(folder, replace(engine, options=options))
    assert opened == [
        Options(),
        Options(),
        Options(disabled=()),
        Options(1, disabled=(), arena=False),
    ]
    Ort().load(folder, replace(engine, options={"threads": "1"}), threads=2)
    assert opened[-1].threads == 2


def test_an_engine_with_an_unknown_option_is_refused(external: Path, host: DeviceProfile) -> None:
    engine = Ort().build(external, host, external.parent)
    with pytest.raises(BackendError, match="speed = 'high' is not known"):
        Ort().load(external.parent, replace(engine, options={"speed": "high"}))
