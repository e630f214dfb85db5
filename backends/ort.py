"""ONNX Runtime on this machine's CPU: builds, runs and measures."""

import json
import math
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..toolchain.device import DeviceProfile
from ..toolchain.dialect import Dialect, Int4Form
from ..toolchain.engine import (
    Array,
    Check,
    Engine,
    Feeds,
    KernelTime,
    Status,
    TimedBuild,
)
from ..toolchain.errors import BackendError
from ..toolchain.output import scratch_folder
from ..toolchain.plan import Precision
from .ort_session import DEFAULT, REFUSED, VERSION, first_line, open_session
from .ort_session import Options as Options  # noqa: PLC0414 - ort.Options, explicitly

INT8_OPS = frozenset(
    {
        *("Conv", "Gemm", "MatMul", "Add", "Mul", "Concat", "Sigmoid", "LeakyRelu", "Softmax"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "Resize", "Reshape", "Flatten"),
        *("Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Gather"),
    }
)
INTEGER_KERNELS = frozenset(
    {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "MatMulInteger"}
    | {"ConvInteger", "DynamicQuantizeMatMul"}
)
# Opsets of the default domain that the oldest supported ONNX Runtime implements in full.
OPSET_MIN, OPSET_MAX = 13, 23
_WARM_UP = 3  # runs that fill caches and pools before any counts
_TURN_US, _MOST_REPEATS = 1000.0, 20  # how long one graph runs before it is another's turn


class Session:
    """A Runner on ONNX Runtime's CPU provider."""

    def __init__(self, model: ir.Model | Path, options: Options = DEFAULT) -> None:
        if isinstance(model, Path):
            self._session = open_session(model, options)
        else:
            source, folder = ir.to_proto(model).SerializeToString(), _external_folder(model)
            self._session = open_session(source, options, external_folder=folder)
        self._outputs = [out.name for out in self._session.get_outputs()]
        self._inputs = [i.name for i in self._session.get_inputs()]

    def __call__(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference on feeds that hold every input."""
        wanted = {name: feeds[name] for name in self._inputs}
        try:
            return dict(zip(self._outputs, self._session.run(None, wanted), strict=True))
        except REFUSED as cause:
            raise BackendError(
                f"ONNX Runtime could not run the graph: {first_line(cause)}",
                "check that the data has the shapes that the model expects",
            ) from cause

    def end_profiling(self) -> Path:
        """Stop recording; the file of events."""
        return Path(self._session.end_profiling())


class Ort:
    """The host backend."""

    name = "ort"

    def dialect(self, profile: DeviceProfile) -> Dialect:
        """QDQ as ONNX Runtime's CPU kernels fuse it.

        uint8 activations: with int8 weights they are what the x86 dot-product instructions take
        (1.9x over fp32 where signed ones reach 1.14x, measured on AVX-512 VNNI).
        """
        arm = profile.target.startswith(("aarch64", "arm"))
        return Dialect(
            name=self.name,
            opset_min=OPSET_MIN,
            opset_max=min(OPSET_MAX, profile.opset_max),
            ops={
                Precision.INT8: INT8_OPS,
                Precision.INT4: frozenset({"MatMul", "Gemm"}),
            },
            unsigned_activations=not arm,
            int32_bias=True,
            quantized_outputs=True,
            float_outputs=frozenset({"MatMul", "Gemm"}),
            # MLAS packs the input channels of an int8 convolution in fours; with three (an image)
            # it falls back to im2col, at about half the speed.
            int8_channels=4,
            fused_activations=frozenset({"Relu", "Clip"}),
            int4=Int4Form.MATMUL_NBITS,
        )

    def runs_here(self, profile: DeviceProfile) -> bool:
        """Whether the device is this machine."""
        return profile.name == "host"

    def version(self) -> str | None:
        """The installed onnxruntime."""
        return VERSION

    def check(self, model: Path, profile: DeviceProfile) -> tuple[Check, ...]:
        """Load the graph; whether its numbers are right is verification's business."""
        del profile
        name = f"ONNX Runtime {VERSION} loads the graph"
        try:
            Session(model)
        except BackendError as refusal:
            return (Check(name, Status.FAILED, refusal.message),)
        return (Check(name, Status.PASSED, f"{platform.machine()}, CPU"),)

    def stage(self, model: Path, profile: DeviceProfile, samples: Iterable[Feeds]) -> None:
        """Nothing: the graph says it all."""

    def build(self, model: Path, profile: DeviceProfile, folder: Path) -> Engine:
        """The deploy graph is the engine: ONNX Runtime compiles it when it is loaded."""
        files = [model.name]
        data = model.with_name(model.name + ".data")
        if data.exists():
            files.append(data.name)
        for name in files:
            if not (folder / name).exists():
                shutil.copy2(model.with_name(name), folder / name)
        return Engine(tuple(files), f"onnxruntime {self.version()}", profile.target)

    def load(self, folder: Path, engine: Engine, threads: int = 0) -> Session:
        """Open the graph with the runtime's optimiser on."""
        return Session(folder / engine.files[0], Options(threads=threads))

    def build_commands(self, model: Path, profile: DeviceProfile) -> tuple[str, ...]:
        """Nothing to build: `hwc run` loads the graph."""
        del model, profile
        return ()


def running_graph(model: ir.Model | Path) -> ir.Graph:
    """The graph that the runtime makes of a model: fused, and laid out for its kernels."""
    with scratch_folder("hwc-ran-") as folder:
        ran = folder / "ran.onnx"
        Session(model, Options(optimised_path=ran))
        return ir.load(ran).graph


def integer_kernels(model: Path) -> int:
    """How many integer matrix kernels the runtime makes of a deploy graph.

    A DequantizeLinear -> Conv -> QuantizeLinear that it does not fuse runs in float, silently.
    """
    return sum(node.op_type in INTEGER_KERNELS for node in running_graph(model))


def time_builds(
    models: Sequence[ir.Model],
    feeds: Feeds,
    *,
    runs: int,
    threads: int = 1,
    told: Callable[[], None] = lambda: None,
) -> list[TimedBuild]:
    """Time several graphs in place, kernel by kernel, in turns.

    In turns, because what slows the machine for a while must fall on all of them alike; a short
    graph runs several times in its turn, because the others leave it cold caches. Each graph has
    two sessions: one with the profiler, which costs about a microsecond a kernel, and one without,
    which says what the whole really takes. `told` is called after each turn.
    """
    with scratch_folder("hwc-profile-") as folder:
        paths = [folder / f"{i}.onnx" for i in range(len(models))]
        profiled = [
            Session(
                model,
                Options(threads, profile=True, optimised_path=path),
            )
            for model, path in zip(models, paths, strict=True)
        ]
        plain = [Session(model, Options(threads)) for model in models]
        repeats = [_repeats(session, feeds) for session in plain]
        totals = np.empty((len(models), runs))
        for run in range(runs):
            for i, repeat in enumerate(repeats):
                for _ in range(repeat):
                    profiled[i](feeds)
                plain[i](feeds)
                start = time.process_time_ns()
                for _ in range(repeat):
                    plain[i](feeds)
                totals[i, run] = (time.process_time_ns() - start) / 1e3 / repeat
            told()
        return [
            _timed(session.end_profiling(), path, total)
            for session, path, total in zip(profiled, paths, totals, strict=True)
        ]


def _repeats(session: Session, feeds: Feeds) -> int:
    """How many runs of a warm session make one turn."""
    fastest = math.inf
    for _ in range(_WARM_UP):
        start = time.perf_counter_ns()
        session(feeds)
        fastest = min(fastest, (time.perf_counter_ns() - start) / 1e3)
    return min(_MOST_REPEATS, math.ceil(_TURN_US / fastest))


def _timed(events_path: Path, graph_path: Path, total_us: npt.NDArray[np.float64]) -> TimedBuild:
    events = _read_events(events_path)
    graph = ir.load(graph_path).graph
    kernels = [KernelTime.of(node, events[str(node.name)]) for node in graph if node.name in events]
    return TimedBuild(tuple(kernels), graph, total_us)


def _read_events(path: Path) -> Mapping[str, npt.NDArray[np.float64]]:
    """Microseconds of every run of every node, by the node's name."""
    times: dict[str, list[float]] = {}
    suffix = "_kernel_time"
    for event in json.loads(path.read_text()):
        if event.get("cat") == "Node" and event["name"].endswith(suffix):
            times.setdefault(event["name"].removesuffix(suffix), []).append(event["dur"])
    path.unlink()
    return {name: np.asarray(values, np.float64) for name, values in times.items()}


def _external_folder(model: ir.Model) -> Path | None:
    """Where the model's external weights lie, if it has any."""
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            return Path(value.const_value.base_dir)
    return None
