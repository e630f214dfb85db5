"""The body of `hwc profile --from-trtexec`: puts what trtexec measured into a latency table."""

from dataclasses import dataclass
from pathlib import Path

from ..toolchain.device import DeviceProfile
from ..toolchain.errors import UsageError
from ..toolchain.latency.estimate import estimate_us
from ..toolchain.latency.observed import store
from ..toolchain.latency.table import LatencyTable, Mode, default_path
from ..toolchain.latency.timing import Setting
from ..toolchain.latency.trt_layers import to_measurement
from ..toolchain.latency.trtexec import read_trtexec
from ..toolchain.plan import NodeChoice, Precision
from ..toolchain.progress import Progress
from ..toolchain.slots import Slot
from .request import Request
from .stages.decide import find_space
from .stages.prepare import prepare
from .stages.target import find_target

RUNTIME = "tensorrt"


@dataclass(frozen=True, slots=True)
class Export:
    """What trtexec wrote about one engine.

    Attributes:
        layers: `--exportLayerInfo`.
        profile: `--exportProfile`.
        precision: What layers ran in whose types the files do not say; None: they all say.
        version: The version of TensorRT, which the files do not say.
    """

    layers: Path
    profile: Path
    precision: Precision | None = None
    version: str = "unknown"


@dataclass(frozen=True, slots=True)
class Imported:
    """What was put into a table.

    Attributes:
        model: As it was named.
        table: The latency table.
        slots: Kernels that may be chosen for.
        counts: How many of them the engine ran in each precision.
        total_us: Time of one inference, in microseconds.
    """

    model: str
    table: str
    slots: int
    counts: dict[str, int]
    total_us: float


def import_trtexec(request: Request, export: Export, progress: Progress) -> Imported:
    """Read an engine's layer times, share them out over the model's slots, and keep them.

    Raises:
        UsageError: The device is none that TensorRT serves.
        InputError: The files are none of trtexec's, do not belong together, or are of another
            model.
        OutputError: The table cannot be written.
    """
    engine = read_trtexec(export.layers, export.profile, export.precision)
    target = find_target(request)
    profile = target.profile
    if profile.backend != "trt":
        raise UsageError(
            f"--from-trtexec: {profile.name} is not served by TensorRT",
            "name its --device, such as jetson_orin",
        )
    prepared = prepare(request, target, progress)
    slots = find_space(request, target, prepared, progress).slots

    def weigh(slot: Slot, choice: NodeChoice) -> float:
        return estimate_us(slot.work, slot.kind, _that_runs(choice, profile), profile).us

    measured = to_measurement(engine, slots, weigh)
    setting = Setting(profile.name, RUNTIME, export.version, 0, profile.power_mode)
    path = request.table or default_path(setting)
    with LatencyTable.open(path, Mode.WRITE) as table:
        store(table, setting, slots, measured, path=request.model)
    counts = {name: int(n) for name, n in measured.plan.counts().items()}
    return Imported(request.model, str(path), len(slots.slots), counts, measured.total_us)


def _that_runs(choice: NodeChoice, profile: DeviceProfile) -> NodeChoice:
    """The choice, or fp32 where the profile knows nothing of its precision."""
    return choice if choice.precision in profile.peak else NodeChoice()
