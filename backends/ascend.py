"""Huawei Ascend: graphs for ATC, the offline compiler of CANN, and engines through pyACL.

Options of ATC: CANN 8.0, "ATC instructions", --precision_mode_v2, --keep_dtype, --input_shape.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import onnx_ir as ir

from ..toolchain import hints, kernels
from ..toolchain.device import DeviceProfile
from ..toolchain.dialect import Dialect
from ..toolchain.engine import Check, Engine, Feeds
from ..toolchain.errors import BackendError
from ..toolchain.operators import OperatorTable
from ..toolchain.plan import Precision
from . import amct, builder, float16, signature
from .legality import check_graph
from .pyacl import AclRunner
from .signature import Signature

TABLE = "ascend_onnx_ops.csv"
KEEP = ".keep_dtype.cfg"
OPSET_MIN, OPSET_MAX = 8, 18
REMEDY = "install the CANN toolkit and `source set_env.sh`, or run `hwc build` on the device"


class Ascend:
    """The Ascend backend."""

    name = "ascend"

    def dialect(self, profile: DeviceProfile) -> Dialect:
        """Float graphs with fixed shapes; precisions go to ATC and AMCT, beside the graph."""
        return Dialect(
            name=self.name,
            opset_min=OPSET_MIN,
            opset_max=min(OPSET_MAX, profile.opset_max),
            # Per channel for Conv only (AMCT): the only int8 that keeps its accuracy unaided.
            ops={Precision.FP16: float16.OPS, Precision.INT8: frozenset({"Conv"})},
            unsigned_activations=True,  # AMCT's activation_offset
            qdq=False,
            casts=False,
            fused_activations=frozenset({"Relu", "LeakyRelu", "Clip"}),
            static_shapes=True,
            operators=OperatorTable.load(TABLE),
        )

    def runs_here(self, profile: DeviceProfile) -> bool:
        """Whether ATC, pyACL and a device are on this machine."""
        del profile
        chips = any(Path("/dev").glob("davinci[0-9]*"))
        return chips and shutil.which("atc") is not None and find_spec("acl") is not None

    def version(self) -> str | None:
        """The version of the CANN toolkit whose ATC is on the path."""
        if shutil.which("atc") is None:
            return None
        home = Path(os.environ.get("ASCEND_TOOLKIT_HOME", ""))
        for name in ("compiler/version.info", "version.cfg"):
            path = home / name
            found = re.search(r"ersion=\[?([\w.]+)", path.read_text()) if path.is_file() else None
            if found:
                return found[1]
        return "unknown"

    def check(self, model: Path, profile: DeviceProfile) -> tuple[Check, ...]:
        """Check specification, opset, operators, shapes and types."""
        return check_graph(model, self.dialect(profile))

    def stage(self, model: Path, profile: DeviceProfile, samples: Iterable[Feeds]) -> None:
        """Write the keep-list of ATC and, where the plan has int8, what AMCT calibrates with."""
        del profile
        graph = builder.read(model)
        _write_sidecars(model.parent, model.stem, graph)
        shutil.rmtree(model.parent / amct.CALIBRATION, ignore_errors=True)
        if Precision.INT8 in hints.read(graph).values():
            amct.write_samples(model.parent, Signature.of(graph), samples)

    def build(self, model: Path, profile: DeviceProfile, folder: Path) -> Engine:
        """Run AMCT (where the plan has int8) and ATC on what `stage` wrote.

        Raises:
            BackendError: A tool is missing or refused; int8 without calibration samples.
        """
        path = builder.bring(model, folder)
        graph = builder.read(path)
        if shutil.which("atc") is None:
            raise BackendError("`atc` is not installed here", REMEDY)
        _write_sidecars(folder, model.stem, graph)
        if Precision.INT8 in hints.read(graph).values() and not amct.count_samples(folder):
            message = f"the plan has int8 but {folder / amct.CALIBRATION} has no samples for AMCT"
            raise BackendError(message, "compile again with --data, or without int8")
        for command in _commands(path, profile):
            builder.run(command, folder, REMEDY)
        # ATC adds the host's system to the name where the engine runs operators on the CPU.
        made = sorted(path.name for path in folder.glob(f"{model.stem}*.om"))
        if not made:
            raise BackendError(f"ATC wrote no {model.stem}.om", "run the build command by hand")
        names = f"{model.stem}{signature.SUFFIX}"
        Signature.of(graph).write(folder / names)
        return Engine((made[0], names), f"CANN {self.version()}", profile.target)

    def load(self, folder: Path, engine: Engine, threads: int = 0) -> AclRunner:
        """Load an engine onto the first device; threads do not matter there.

        Raises:
            BackendError: pyACL is missing, or refused the engine.
        """
        del threads
        om, names = engine.files
        return AclRunner(folder / om, Signature.read(folder / names))

    def build_commands(self, model: Path, profile: DeviceProfile) -> tuple[str, ...]:
        """The commands that make the engine, run in the bundle's folder.

        Args:
            model: Path of the deploy graph, whose shapes and precisions they spell out.
            profile: The device.

        Raises:
            InputError: There is no such graph.
        """
        return tuple(shlex.join(command) for command in _commands(model, profile))


def _write_sidecars(folder: Path, stem: str, graph: ir.Model) -> None:
    """Write the text files that the commands read, and remove those of a plan before it."""
    for suffix in (KEEP, amct.CONFIG):
        (folder / f"{stem}{suffix}").unlink(missing_ok=True)
    lowered = hints.read(graph)
    kept = _kept(graph, lowered)
    if kept:
        (folder / f"{stem}{KEEP}").write_text("\n".join(kept) + "\n", "utf-8")
    if Precision.INT8 in lowered.values():
        (folder / f"{stem}{amct.CONFIG}").write_text(amct.config(graph, lowered), "utf-8")


def _commands(model: Path, profile: DeviceProfile) -> list[list[str]]:
    """AMCT where the plan has int8, and ATC."""
    graph = builder.read(model)
    lowered = hints.read(graph)
    io = Signature.of(graph)
    shapes = ";".join(f"{i.name}:{','.join(map(str, i.shape))}" for i in io.inputs)
    images = all(len(spec.shape) == 4 for spec in io.inputs)  # noqa: PLR2004 - N, C, H, W
    quantised = Precision.INT8 in lowered.values()
    atc = [
        "atc",
        "--framework=5",  # ONNX
        f"--model={amct.deploy_model(model.stem) if quantised else model.name}",
        f"--output={model.stem}",
        f"--soc_version={profile.target}",
        f"--input_format={'NCHW' if images else 'ND'}",
        f"--input_shape={shapes}",
        "--precision_mode_v2=fp16",  # what is not in the keep-list
    ]
    if _kept(graph, lowered):
        atc.append(f"--keep_dtype={model.stem}{KEEP}")
    if not quantised:
        return [atc]
    samples = amct.count_samples(model.parent)
    return [amct.command(model.stem, io, shapes=shapes, samples=samples), atc]


def _kept(graph: ir.Model, lowered: dict[str, Precision]) -> list[str]:
    """The nodes that compute floats and stay in fp32, for ATC's --keep_dtype.

    Where a chip has no fp32 kernel ATC takes the most precise one that it has; with
    --precision_mode_v2=origin it would move the node to the CPU or refuse it.
    """
    return [
        str(node.name)
        for node in graph.graph
        if node.name not in lowered and any(kernels.is_float(out) for out in node.outputs)
    ]
