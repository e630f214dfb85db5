"""Timing graphs in turns: what is recorded, what is handed back, and what a device needs for it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import time_builds, timed_build
from hwc.backends.ort_timing import Graph, RawBuild, time_graphs
from hwc.toolchain.errors import BackendError

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

RUNS = 4
LIGHT = {"hwc", "numpy", "onnxruntime"}  # what is on a device
NET = """<ir_version: 10, opset_import: ["" : 21]> g (float[1,3,16,16] x) => (float[1,8,16,16] y)
<float[8,3,3,3] w1, float[8] b1, float[8,8,3,3] w2>
{
    [conv1] c1 = Conv <pads = [1,1,1,1]> (x, w1, b1)
    [relu1] r1 = Relu (c1)
    [conv2] y = Conv <pads = [1,1,1,1]> (r1, w2)
}"""


@pytest.fixture(scope="module")
def net(subject: Callable[..., "Subject"]) -> "Subject":
    return subject(NET)


def serialised(model: ir.Model) -> Graph:
    data: bytes = ir.to_proto(model).SerializeToString()
    return Graph(data)


@pytest.fixture(scope="module")
def raw(net: "Subject") -> RawBuild:
    (build,) = time_graphs([serialised(net.model)], net.samples[0], runs=RUNS)
    return build


def test_every_node_that_ran_was_timed(raw: RawBuild) -> None:
    ran = onnx.ModelProto.FromString(raw.graph)
    assert set(raw.events) == {node.name for node in ran.graph.node}
    assert len({len(us) for us in raw.events.values()}) == 1
    assert all((us >= 0).all() for us in raw.events.values())


def test_cpu_and_wall_time_of_every_turn(raw: RawBuild) -> None:
    assert raw.total_us.shape == raw.wall_us.shape == (RUNS,)
    assert (raw.total_us > 0).all()
    # On one thread nobody computes longer than it takes; process time ticks in microseconds.
    assert (raw.total_us <= raw.wall_us + 2).all()


def test_the_weights_stay_where_they_are(raw: RawBuild, net: "Subject") -> None:
    assert len(serialised(net.model).data) > 3000
    ran = onnx.ModelProto.FromString(raw.graph)
    assert sum(len(tensor.raw_data) for tensor in ran.graph.initializer) < 1024


def test_a_build_is_the_raw_build_with_its_graph_read(raw: RawBuild) -> None:
    build = timed_build(raw)
    assert {kernel.name for kernel in build.kernels} == set(raw.events)
    np.testing.assert_array_equal(build.total_us, raw.total_us)
    assert build.wall_us is not None
    values = build.graph.initializers.values()
    assert not any(isinstance(v.const_value, ir.ExternalTensor) for v in values)


def test_graphs_are_asked_for_one_by_one(net: "Subject") -> None:
    """So that a device need not hold all of them beside the sessions."""
    asked: list[str] = []

    def graphs() -> "list[Graph]":
        asked.append("graph")
        return [serialised(net.model)]

    builds = time_graphs(
        (graph for _ in range(2) for graph in graphs()),
        net.samples[0],
        runs=1,
        told=lambda: asked.append("turn"),
    )
    assert asked == ["graph", "graph", "turn"]
    assert len(builds) == 2


@pytest.mark.parametrize("damage", ["not a graph", "cut off"])
def test_a_graph_that_cannot_be_read_is_a_value_error(raw: RawBuild, damage: str) -> None:
    graph = {"not a graph": b"\xff" * 99, "cut off": raw.graph[:-9]}[damage]
    with pytest.raises(ValueError, match="cannot be read"):
        timed_build(RawBuild(raw.events, graph, raw.total_us, raw.wall_us))


def test_any_flipped_byte_gives_a_graph_or_a_value_error(raw: RawBuild) -> None:
    rng = np.random.default_rng(0)
    for position in rng.integers(len(raw.graph), size=300):
        damaged = bytearray(raw.graph)
        damaged[position] ^= int(rng.integers(1, 256))
        try:
            timed_build(RawBuild(raw.events, bytes(damaged), raw.total_us, raw.wall_us))
        except ValueError as error:
            assert "cannot be read" in str(error)  # noqa: PT017 - most damage is no error


def test_feeds_that_do_not_fit_are_refused(net: "Subject") -> None:
    with pytest.raises(BackendError, match="could not run the graph"):
        time_graphs([serialised(net.model)], {"x": np.ones((1, 3, 8, 9), np.float32)}, runs=1)


def test_weights_beside_the_graph(net: "Subject", tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    ir.save(net.model.clone(), path, external_data="model.onnx.data", size_threshold_bytes=64)
    build, whole = time_builds([ir.load(path), net.model], net.samples[0], runs=1)
    # The runtime's own names differ from one session to the next.
    assert [kernel.op for kernel in build.kernels] == [kernel.op for kernel in whole.kernels]


def test_a_device_needs_numpy_and_onnxruntime_alone() -> None:
    """Everything that importing the agent loads, but for the standard library."""
    code = (
        "import hwc.backends.ort_agent, sys; "
        "print(*{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    outside = {name for name in done.stdout.split() if not name.startswith("_")}
    assert outside - {"sitecustomize", "usercustomize"} == LIGHT, outside
