"""Opening a graph in ONNX Runtime on this machine's CPU.

An edge device imports this module with nothing but numpy and onnxruntime installed.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it is read when the library is loaded
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import (
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    NoSuchFile,
    RuntimeException,
)
from onnxruntime.capi.onnxruntime_pybind11_state import (
    NotImplemented as OrtNotImplemented,
)

from ..toolchain.errors import BackendError, OutputError

# Add + LayerNormalization as one kernel takes several times what the two take (1.32, x86); and an
# fp32 Conv or Gemm between int8 ones would have its weight quantised, per tensor and unasked.
LEFT_OUT = ("SkipLayerNormFusion", "WeightBiasQuantization")
REFUSED = (
    *(EPFail, Fail, InvalidArgument, InvalidGraph, InvalidProtobuf, NoSuchFile),
    *(OrtNotImplemented, RuntimeException),
)
VERSION = str(onnxruntime.__version__)
_FULL_BELOW = 1 << 20  # bytes free under which a write that failed without a code means "full"
_QUIET = 4  # log severity: what is an error is raised as well


class Layout(StrEnum):
    """How the runtime lays activations out in memory."""

    BLOCKED = "blocked"  # channels in the vector width's blocks (NCHWc), or last for int8 (NHWC)
    PLAIN = "plain"  # as the graph has them


@dataclass(frozen=True, slots=True)
class Options:
    """How a session is opened.

    Attributes:
        threads: Threads of one inference; 0: one for each core.
        disabled: Optimisers of the runtime that are left out.
        optimise: Whether the runtime rewrites the graph; off for the reference.
        integers: Whether it makes integer kernels of QuantizeLinear/DequantizeLinear pairs; off to
            compute what another device would, whose dialect it moves about wrongly (1.32).
        profile: Whether it records the time of each kernel.
        optimised_path: Where it writes the graph that it really runs; None: nowhere.
        layout: In which layout kernels run; reordering costs more than it gains where a graph
            leaves the blocked layout often.
        arena: Whether freed memory is kept for the next run.
        prepack: Whether weights are laid out for their kernels when the graph is loaded.
        spinning: Whether idle threads wait for work without sleeping.
    """

    threads: int = 0
    optimise: bool = True
    integers: bool = True
    disabled: tuple[str, ...] = LEFT_OUT
    profile: bool = False
    optimised_path: Path | None = None
    layout: Layout = Layout.BLOCKED
    arena: bool = True
    prepack: bool = True
    spinning: bool = True


DEFAULT = Options()


def open_session(
    source: bytes | Path, options: Options = DEFAULT, *, external_folder: Path | None = None
) -> onnxruntime.InferenceSession:
    """Open a graph.

    Args:
        source: A serialised ModelProto, or the file of one.
        options: How.
        external_folder: Where the external weights of a serialised graph lie.

    Raises:
        BackendError: The runtime refuses the graph.
        OutputError: The disk is too full for what the options have it write.
    """
    settings = settings_of(options)
    if external_folder is not None:
        settings.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(external_folder)
        )
    try:
        return onnxruntime.InferenceSession(
            source,
            settings,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(options.disabled),
        )
    except REFUSED as cause:
        written = options.optimised_path
        if written is not None and shutil.disk_usage(written.parent).free < _FULL_BELOW:
            place = written.parent.parent
            raise OutputError(f"{place}: the disk is full", "set TMPDIR to another") from cause
        raise BackendError(
            f"ONNX Runtime {VERSION} refuses the graph: {first_line(cause)}",
            "the graph is not valid, or needs a newer onnxruntime",
        ) from cause


@contextmanager
def refusals() -> Iterator[None]:
    """Turn the runtime's refusal to run a graph on some feeds into a BackendError."""
    try:
        yield
    except REFUSED as cause:
        raise BackendError(
            f"ONNX Runtime could not run the graph: {first_line(cause)}",
            "check that the data has the shapes that the model expects",
        ) from cause


def settings_of(options: Options) -> onnxruntime.SessionOptions:
    """What the runtime is told about a session."""
    levels = onnxruntime.GraphOptimizationLevel
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _QUIET
    settings.intra_op_num_threads = options.threads or os.cpu_count() or 1
    settings.enable_cpu_mem_arena = options.arena
    if not options.optimise:
        settings.graph_optimization_level = levels.ORT_DISABLE_ALL
    elif options.layout is Layout.PLAIN:
        settings.graph_optimization_level = levels.ORT_ENABLE_EXTENDED  # all but the layout's
    entries = {
        "session.disable_quant_qdq": not (options.optimise and options.integers),
        "session.disable_prepacking": not options.prepack,
    }
    for key, on in entries.items():
        if on:
            settings.add_session_config_entry(key, "1")
    if not options.spinning:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    _observe(settings, options)
    return settings


def _observe(settings: onnxruntime.SessionOptions, options: Options) -> None:
    """Have the graph that runs, and the time of each kernel, written to files."""
    if options.optimised_path is not None:
        settings.optimized_model_filepath = str(options.optimised_path)
        # Beside the graph: a protobuf holds 2 GiB at most, and nobody looks at the weights.
        settings.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", "weights.bin"
        )
        settings.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", "1024"
        )
    if options.profile:
        settings.enable_profiling = True
        folder = (
            options.optimised_path.parent if options.optimised_path else Path(tempfile.gettempdir())
        )
        settings.profile_file_prefix = str(folder / "events")


def first_line(error: Exception) -> str:
    """What the runtime says, without its prefixes and its stack."""
    return str(error).strip().splitlines()[0].split(" : ", 2)[-1]
