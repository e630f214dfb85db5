"""A device: what it can compute, how fast, and who says so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .plan import Precision


class Confidence(StrEnum):
    """How far a figure can be trusted."""

    MEASURED = "measured"
    DATASHEET = "datasheet"
    DERIVED = "derived"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number about a device, with who says so."""

    value: float
    source: str
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class PowerMode:
    """One power mode of a device; the profile's own figures hold for the default mode.

    Attributes:
        watts: The mode's power budget, in watts.
        clock: Compute clock as a fraction of the profile's.
        bandwidth: Memory bandwidth as a fraction of the profile's.
        units: Compute units (SMs, cores) that are on.
    """

    watts: Figure
    clock: Figure
    bandwidth: Figure
    units: int


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A device profile.

    Attributes:
        name: The profile's own name, such as `jetson_agx_orin`.
        title: What a person calls the device.
        backend: The backend that serves it: `ort`, `trt`, `ascend` or `dcu`.
        target: What engines are built for: `sm80`, `Ascend310P3`, `gfx906`, `x86_64+avx512_vnni`.
        units: Compute units: SMs, AI cores, CUs or CPU cores.
        opset_max: The highest opset of the default domain that the device's runtime reads.
        peak: Dense peak of each precision that *runs*, in Tera-operations per second
            (a multiply and an add are two operations).
        bandwidth: Memory bandwidth, in GB/s.
        cache: Last-level cache, in MiB.
        memory: Device memory, in GiB.
        launch: Cost of starting one kernel, in microseconds.
        sparse_2_4: Factor on the peak where 2:4 sparsity runs; None where it does not.
        power_modes: By name.
        efficiency: Fraction of the peak (compute) or bandwidth (memory) that real kernels reach,
            by operator class, as the estimator uses it.
    """

    name: str
    title: str
    backend: str
    target: str
    units: int
    opset_max: int
    peak: Mapping[Precision, Figure]
    bandwidth: Figure
    cache: Figure
    memory: Figure
    launch: Figure
    sparse_2_4: Figure | None = None
    power_modes: Mapping[str, PowerMode] = field(default_factory=dict)
    efficiency: Mapping[str, Figure] = field(default_factory=dict)

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that run on the device."""
        return tuple(self.peak)
