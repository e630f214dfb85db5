"""Hygon DCU: graphs for MIGraphX, the inference compiler of ROCm and of Hygon's DTK.

The graph carries its precisions as Casts. MIGraphX keeps them: its eliminate_convert pass merges
only conversions that follow each other. `--fp16` would lower every kernel, those too that a plan
keeps in fp32, so it is never given. int8 is not offered: no table here measured it faster.

Options of the driver: "MIGraphX driver" of ROCm 6 and 7; `--enable-offload-copy` lets a program
take and give arrays of the host.
"""

import shlex
import shutil
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..toolchain.device import DeviceProfile
from ..toolchain.dialect import Dialect
from ..toolchain.engine import Array, Check, Engine, Feeds
from ..toolchain.errors import BackendError
from ..toolchain.operators import OperatorTable
from ..toolchain.plan import Precision
from . import builder, float16, signature
from .legality import check_graph
from .signature import Signature

TABLE = "dcu_onnx_ops.csv"
OPSET_MIN, OPSET_MAX = 7, 19
DRIVER = "migraphx-driver"
REMEDY = "install MIGraphX (ROCm or DTK), or run `hwc build` on the device"


class Dcu:
    """The DCU backend."""

    name = "dcu"

    def dialect(self, profile: DeviceProfile) -> Dialect:
        """Graphs with fixed shapes whose Casts say what runs in fp16."""
        return Dialect(
            name=self.name,
            opset_min=OPSET_MIN,
            opset_max=min(OPSET_MAX, profile.opset_max),
            ops={Precision.FP16: float16.OPS},
            qdq=False,
            fused_activations=frozenset({"Relu"}),  # MIOpen's conv + bias + activation
            static_shapes=True,
            operators=OperatorTable.load(TABLE),
        )

    def runs_here(self, profile: DeviceProfile) -> bool:
        """Whether MIGraphX and a device are on this machine."""
        del profile
        present = shutil.which(DRIVER) is not None and find_spec("migraphx") is not None
        return present and Path("/dev/kfd").exists()

    def version(self) -> str | None:
        """The version of MIGraphX's Python module."""
        if find_spec("migraphx") is None:
            return None
        return str(getattr(import_module("migraphx"), "__version__", "unknown"))

    def check(self, model: Path, profile: DeviceProfile) -> tuple[Check, ...]:
        """Check specification, opset, operators, shapes and types."""
        return check_graph(model, self.dialect(profile))

    def stage(self, model: Path, profile: DeviceProfile, samples: Iterable[Feeds]) -> None:
        """Nothing: the graph says it all."""

    def build(self, model: Path, profile: DeviceProfile, folder: Path) -> Engine:
        """Compile the graph for the GPU of this machine.

        Raises:
            BackendError: MIGraphX is missing, or refused the graph.
        """
        graph = builder.bring(model, folder)
        builder.run(_command(model.name), folder, REMEDY)
        mxr, names = f"{model.stem}.mxr", f"{model.stem}{signature.SUFFIX}"
        if not (folder / mxr).exists():
            raise BackendError(f"{DRIVER} wrote no {mxr}", "run the build command by hand")
        Signature.of(builder.read(graph)).write(folder / names)
        return Engine((mxr, names), f"MIGraphX {self.version()}", profile.target)

    def load(self, folder: Path, engine: Engine, threads: int = 0) -> "MigraphxRunner":
        """Load an engine; threads do not matter on the GPU.

        Raises:
            BackendError: MIGraphX is missing, or refused the engine.
        """
        del threads
        mxr, names = engine.files
        return MigraphxRunner(folder / mxr, Signature.read(folder / names))

    def build_commands(self, model: Path, profile: DeviceProfile) -> tuple[str, ...]:
        """The command that makes the engine, run in the bundle's folder on the device."""
        del profile
        return (shlex.join(_command(model.name)),)


class MigraphxRunner:
    """A loaded `.mxr` program: arrays in by input name, arrays out by output name."""

    def __init__(self, path: Path, io: Signature) -> None:
        self._migraphx = _migraphx()
        self._io = io
        try:
            self._program = self._migraphx.load(str(path))
        except RuntimeError as refusal:
            message = f"MIGraphX cannot load {path.name}: {refusal}"
            raise BackendError(message, "build it with this version: `hwc build`") from refusal

    def __call__(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference.

        Raises:
            BackendError: MIGraphX refused the arrays, or the device failed.
        """
        make = self._migraphx.argument
        arrays = {
            spec.name: np.ascontiguousarray(feeds[spec.name], spec.dtype)
            for spec in self._io.inputs
        }
        try:
            results = self._program.run({name: make(array) for name, array in arrays.items()})
        except RuntimeError as refusal:
            message = f"MIGraphX failed: {refusal}"
            raise BackendError(message, "the engine takes one fixed shape and type") from refusal
        return self._io.name_outputs([np.array(result) for result in results])


def _command(model: str) -> list[str]:
    engine = f"{Path(model).stem}.mxr"
    options = ["--gpu", "--enable-offload-copy", "--binary", "-o", engine]
    return [DRIVER, "compile", "--onnx", model, *options]


def _migraphx() -> Any:  # noqa: ANN401 - a module without stubs
    try:
        return import_module("migraphx")
    except ImportError as cause:
        raise BackendError("the module `migraphx` is not installed here", REMEDY) from cause
