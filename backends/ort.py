"""ONNX Runtime on this machine's CPU: builds, runs and measures."""

import platform
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no stubs

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
from .ort_options import options_text, read_options
from .ort_session import DEFAULT, VERSION, open_session, refusals
from .ort_session import Options as Options  # noqa: PLC0414 - ort.Options, explicitly
from .ort_timing import Graph, RawBuild, time_graphs

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


class Session:
    """A Runner on ONNX Runtime's CPU provider."""

    def __init__(self, model: ir.Model | Path, options: Options = DEFAULT) -> None:
        if isinstance(model, Path):
            self._session = open_session(model, options)
        else:
            source, folder = _serialised(model), _external_folder(model)
            self._session = open_session(source, options, external_folder=folder)
        self._outputs = [out.name for out in self._session.get_outputs()]
        self._inputs = [i.name for i in self._session.get_inputs()]

    def __call__(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference on feeds that hold every input."""
        wanted = {name: feeds[name] for name in self._inputs}
        with refusals():
            return dict(zip(self._outputs, self._session.run(None, wanted), strict=True))


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
        return Engine(
            tuple(files),
            f"onnxruntime {self.version()}",
            profile.target,
            options_text(DEFAULT),
        )

    def load(self, folder: Path, engine: Engine, threads: int = 0) -> Session:
        """Open the graph with the options that the engine was tuned to.

        Raises:
            BackendError: The runtime refuses the graph, or an option is not known.
        """
        return Session(folder / engine.files[0], read_options(engine.options, threads))

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
    """Time several graphs in place on this machine, kernel by kernel, in turns; see `time_graphs`.

    `told` is called after each turn.
    """
    graphs = (Graph(_serialised(model), _external_folder(model)) for model in models)
    timed = time_graphs(graphs, feeds, runs=runs, threads=threads, told=told)
    return [timed_build(raw) for raw in timed]


def timed_build(raw: RawBuild) -> TimedBuild:
    """What was measured of a build, with the graph that ran.

    Raises:
        ValueError: What should be that graph is none: a device sent something else.
    """
    try:
        model = ir.from_proto(onnx.ModelProto.FromString(raw.graph))
    except (DecodeError, ir.serde.SerdeError) as cause:
        raise ValueError("a graph that cannot be read") from cause
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = None  # its file was left where the graph ran
    kernels = tuple(
        KernelTime.of(node, raw.events[str(node.name)])
        for node in model.graph
        if node.name in raw.events
    )
    return TimedBuild(kernels, model.graph, raw.total_us, raw.wall_us)


def _serialised(model: ir.Model) -> bytes:
    data: bytes = ir.to_proto(model).SerializeToString()
    return data


def _external_folder(model: ir.Model) -> Path | None:
    """Where the model's external weights lie, if it has any."""
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            return Path(value.const_value.base_dir)
    return None
