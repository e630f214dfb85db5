"""TensorRT 10, 11 and TensorRT-RTX: NVIDIA GPUs from A100 to Jetson Orin."""

import shlex
import time
from collections.abc import Iterable
from pathlib import Path

from ..toolchain.device import DeviceProfile
from ..toolchain.dialect import Dialect, Int4Form
from ..toolchain.engine import Check, Engine, Feeds, Status
from ..toolchain.errors import BackendError
from ..toolchain.output import atomic_output
from ..toolchain.plan import Precision
from . import cuda_memory
from .trt_runtime import AHEAD_OF_TIME, NATIVE, EngineRunner, Target, Toolkit

ENGINE = "model.engine"
CHECK = "TensorRT builds the graph"
INSTALL = "pip install hwc-compiler[rtx]"

# Opset 21 is the first with INT4 and with float16 scales of QuantizeLinear.
OPSET_MIN, OPSET_MAX = 21, 23

_MOVES = frozenset(
    {
        *("Concat", "Flatten", "MaxPool", "Reshape", "Slice", "Split"),
        *("Squeeze", "Transpose", "Unsqueeze"),
    }
)
# Ops that read QuantizeLinear/DequantizeLinear pairs: those with an integer kernel, and those that
# only move numbers, past which TensorRT carries a pair ("Explicit Quantization" in its manual).
INT8_OPS = _MOVES | {
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "AveragePool", "GlobalAveragePool"),
}
# What is legal bfloat16 in ONNX opset 21 (Conv and pooling are not before 22), and builds.
BF16_OPS = (_MOVES - {"MaxPool"}) | {
    *("Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow"),
    *("Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "Tanh", "Gelu", "Erf", "Exp", "Log"),
    *("Sqrt", "Reciprocal", "Neg", "Abs", "Floor", "Ceil", "Softmax", "LogSoftmax"),
    *("LayerNormalization", "BatchNormalization", "GroupNormalization"),
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2", "Gather", "DepthToSpace"),
    *("SpaceToDepth", "Expand", "Identity", "Pad", "Resize", "Tile", "Where"),
}
FP16_OPS = BF16_OPS | {
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
    *("HardSwish", "HardSigmoid", "Elu", "Selu", "Mish", "Softplus", "InstanceNormalization"),
}
FUSED_ACTIVATIONS = frozenset(
    {"Relu", "Clip", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Gelu", "HardSwish", "HardSigmoid"}
)
# 2:4 sparse kernels are for float16 and int8 (TensorRT developer guide, "Structured sparsity"), and
# want channels in multiples of these (cuSPARSELt, which PyTorch's semi-structured tensors follow).
SPARSE_CHANNELS = {Precision.FP16: 16, Precision.INT8: 32}
_SHARE = 4  # of a device's memory that one kernel's scratch space may take; Orin's CPU shares it


class TensorRT:
    """The backend of NVIDIA GPUs."""

    name = "trt"

    def dialect(self, profile: DeviceProfile) -> Dialect:
        """Strongly typed: the graph alone says what runs in what.

        TensorRT refuses a zero point other than 0, a bias behind a DequantizeLinear, and operands
        of two float types. int8 kernels write float, fp16 where the device has it, and TensorRT
        fuses the QuantizeLinear that follows.
        """
        ops = {
            Precision.INT8: INT8_OPS,
            Precision.FP16: FP16_OPS,
            Precision.BF16: BF16_OPS,
            Precision.INT4: frozenset({"Gemm", "MatMul"}),
        }
        runs = profile.precisions
        return Dialect(
            name=self.name,
            opset_min=OPSET_MIN,
            opset_max=min(OPSET_MAX, profile.opset_max),
            ops={precision: names for precision, names in ops.items() if precision in runs},
            int8_float=Precision.FP16 if Precision.FP16 in runs else Precision.FP32,
            fused_activations=FUSED_ACTIVATIONS,
            int4=Int4Form.DEQUANTIZE if Precision.INT4 in runs else Int4Form.NONE,
            sparse_2_4=SPARSE_CHANNELS if profile.sparse_2_4 else {},
            static_shapes=True,
        )

    def runs_here(self, profile: DeviceProfile) -> bool:
        """Whether a GPU of the device's kind is here, and a TensorRT that serves it."""
        gpu = _gpu()
        return gpu == _sm(profile) and _builder(gpu, gpu) is not None

    def version(self) -> str | None:
        """The TensorRT that is installed; TensorRT-RTX counts where TensorRT has no GPU."""
        native = Toolkit.find(NATIVE) if _gpu() is not None else None
        toolkit = native or Toolkit.find(AHEAD_OF_TIME)
        return toolkit.version if toolkit else None

    def check(self, model: Path, profile: DeviceProfile) -> tuple[Check, ...]:
        """Build an engine ahead of time: a parser and a compiler that accept every node.

        It finds no wrong numbers and says nothing of speed; those checks need the device. On the
        device there is nothing to check before the build.
        """
        if self.runs_here(profile):
            return ()
        toolkit = Toolkit.find(AHEAD_OF_TIME)
        if toolkit is None:
            return (Check(CHECK, Status.OWED, f"TensorRT-RTX is not installed: {INSTALL}"),)
        wanted = _sm(profile)
        sm = _nearest(wanted, toolkit)
        start = time.perf_counter()
        try:
            engine = toolkit.build(model, target_of(sm, profile))
        except BackendError as refusal:
            return (Check(CHECK, Status.FAILED, str(refusal)),)
        seconds = time.perf_counter() - start
        size = engine.nbytes / 1e6
        built = f"{toolkit.version} built {size:.1f} MB for SM{sm} in {seconds:.1f} s"
        if sm != wanted:
            built += f"; it knows no SM{wanted}: this shows that the graph is legal, no more"
        return (Check(CHECK, Status.PASSED, built),)

    def stage(self, model: Path, profile: DeviceProfile, samples: Iterable[Feeds]) -> None:
        """Nothing: the graph says it all."""

    def build(self, model: Path, profile: DeviceProfile, folder: Path) -> Engine:
        """Build for the GPU at hand with TensorRT, or ahead of time with TensorRT-RTX.

        Raises:
            BackendError: Neither can build for the device here, or it refused the graph.
        """
        sm = _sm(profile)
        toolkit = _builder(sm, _gpu())
        if toolkit is None:
            raise BackendError(
                f"no TensorRT here builds for SM{sm} ({profile.title})",
                f"run `hwc build` on the device; for SM80, 86 and 89 also: {INSTALL}",
            )
        target = target_of(None if toolkit.name == NATIVE else sm, profile)
        built = toolkit.build(model, target)
        with atomic_output(folder / ENGINE, force=True) as path:
            path.write_bytes(built)
        return Engine((ENGINE,), toolkit.version, profile.target)

    def load(self, folder: Path, engine: Engine, threads: int = 0) -> EngineRunner:
        """Load an engine on the first GPU.

        Raises:
            BackendError: There is no such GPU, or another TensorRT than the one that built it.
        """
        del threads  # the GPU's own business
        name = engine.runtime.partition(" ")[0]
        toolkit = Toolkit.find(name)
        if toolkit is None or toolkit.version != engine.runtime:
            found = toolkit.version if toolkit else "none"
            raise BackendError(
                f"the engine was built by {engine.runtime}, installed is {found}",
                "run `hwc build` here, which makes an engine for what is installed",
            )
        cuda = cuda_memory.first_device()
        if cuda is None:
            raise BackendError("no GPU to run the engine on", cuda_memory.INSTALL)
        if f"sm{cuda.capability}" != engine.target:
            raise BackendError(
                f"the engine is for {engine.target}, the GPU here is sm{cuda.capability}",
                "compile for this GPU, or run `hwc build` on the device that was meant",
            )
        return toolkit.load((folder / engine.files[0]).read_bytes(), cuda)

    def build_commands(self, model: Path, profile: DeviceProfile) -> tuple[str, ...]:
        """TensorRT's own tool; `hwc build` does the same from Python."""
        limit = workspace_of(profile) >> 20
        sparse = ["--sparsity=enable"] if profile.sparse_2_4 else []
        command = [
            *("trtexec", f"--onnx={model.name}", "--stronglyTyped", f"--saveEngine={ENGINE}"),
            *sparse,
            *(f"--memPoolSize=workspace:{limit}", "--skipInference"),
        ]
        return ("# the same as `hwc build`, with TensorRT's own tool:", shlex.join(command))


def _builder(sm: int, gpu: int | None) -> Toolkit | None:
    """What builds for an SM here: TensorRT where that is the GPU, else TensorRT-RTX if it can."""
    if gpu == sm and (native := Toolkit.find(NATIVE)) is not None:
        return native
    ahead = Toolkit.find(AHEAD_OF_TIME)
    return ahead if ahead is not None and sm in ahead.targets else None


def _gpu() -> int | None:
    """The SM of the first GPU, or None."""
    cuda = cuda_memory.first_device()
    return None if cuda is None else cuda.capability


def _sm(profile: DeviceProfile) -> int:
    """The SM that a profile names, such as 87 for `sm87`."""
    digits = profile.target.removeprefix("sm")
    if not digits.isdecimal():
        raise BackendError(
            f"profile {profile.name}: target '{profile.target}' names no SM",
            "write it as in 'target: sm87'",
        )
    return int(digits)


def target_of(sm: int | None, profile: DeviceProfile) -> Target:
    """What to build for; the weights say whether a sparse kernel can be had."""
    return Target(sm, workspace_of(profile), sparse=profile.sparse_2_4 is not None)


def _nearest(sm: int, toolkit: Toolkit) -> int:
    """The SM itself, else the highest below it: what it can do, the wanted one can do too."""
    return max((known for known in toolkit.targets if known <= sm), default=toolkit.targets[0])


def workspace_of(profile: DeviceProfile) -> int:
    """Bytes of scratch memory for one kernel."""
    return int(profile.memory.value * 2**30) // _SHARE
