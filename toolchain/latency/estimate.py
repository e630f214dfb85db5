"""What a kernel should take on a device that is not at hand: a roofline with occupancy."""

from dataclasses import dataclass

from ..device import DeviceProfile
from ..errors import DeviceError
from ..plan import NodeChoice, Precision
from ..slots import Work

# Where a profile says nothing: as far as kernels of unknown quality may be trusted to get.
FALLBACK_EFFICIENCY = 0.3
FALLBACK_GRAIN = 4096.0
FALLBACK_ERROR = (0.25, 4.0)

# Multiply-accumulates of one output element that are worth a compute unit of their own: with
# fewer, runtimes do not split the reduction (split-K) over units.
SPLIT_DEPTH = 512


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated duration and the range that measurements of such estimates fell into.

    Attributes:
        us: The estimate, in microseconds.
        low: The lowest that is likely, in microseconds.
        high: The highest that is likely, in microseconds.
    """

    us: float
    low: float
    high: float


def estimate_us(work: Work, kind: str, choice: NodeChoice, profile: DeviceProfile) -> Estimate:
    """Estimate one kernel: launch + max(computing, moving the bytes).

    Args:
        work: What the kernel has to do.
        kind: Its operator class, as `Slot.kind` has it.
        choice: What it computes in.
        profile: The device.

    Raises:
        DeviceError: The precision does not run on the device.
    """
    precision = executed(choice.precision, profile)
    compute = _compute_us(work, kind, precision, profile)
    weights = work.weights * precision.weight_bits / 8
    activations = (work.reads + work.writes) * precision.activation_bits / 8
    move = _move_us(weights, activations, profile)
    return _range(profile.launch.value + max(compute, move), profile)


def boundary_us(
    elements: int, from_precision: Precision, to_precision: Precision, profile: DeviceProfile
) -> Estimate:
    """Estimate the kernel that converts a tensor where two slots differ in precision.

    Args:
        elements: How many elements the tensor has.
        from_precision: What its producer computes in.
        to_precision: What its consumer computes in.
        profile: The device.

    Returns:
        Zero where the activations have the same format on both sides.
    """
    source, target = executed(from_precision, profile), executed(to_precision, profile)
    if _format(source) is _format(target):
        return Estimate(0.0, 0.0, 0.0)
    moved = elements * (source.activation_bits + target.activation_bits) / 8
    return _range(profile.launch.value + _move_us(0, moved, profile), profile)


def executed(precision: Precision, profile: DeviceProfile) -> Precision:
    """What the device really computes in: fp32 falls to the widest that runs (ATC's fp16).

    Raises:
        DeviceError: Another precision that does not run on the device.
    """
    if precision in profile.peak:
        return precision
    if precision is Precision.FP32:
        return max(profile.peak, key=lambda p: p.weight_bits)
    runs = ", ".join(profile.peak)
    raise DeviceError(f"{profile.name} does not run {precision}", f"it runs {runs}")


def _compute_us(work: Work, kind: str, precision: Precision, profile: DeviceProfile) -> float:
    """Time of the arithmetic on as many compute units as the kernel can fill."""
    if not work.macs:
        return 0.0
    grain = profile.grain.value if profile.grain else FALLBACK_GRAIN
    depth = max(1.0, work.macs / max(1, work.writes) / SPLIT_DEPTH)
    filled = min(1.0, max(1.0, work.writes / grain) * depth / profile.units)
    rate = profile.peak[precision].value * 1e6 * _efficiency(kind, profile) * filled
    return 2 * work.macs / rate


def _move_us(weights: float, activations: float, profile: DeviceProfile) -> float:
    """Time to move bytes: weights come from memory, activations as far as they fit from cache."""
    memory = profile.bandwidth.value * 1e3 * _efficiency("memory", profile)
    cache = profile.cache_bandwidth.value * 1e3 if profile.cache_bandwidth else memory
    cached = min(activations, profile.cache.value * 2**20)
    return (weights + activations - cached) / memory + cached / max(cache, memory)


def _efficiency(kind: str, profile: DeviceProfile) -> float:
    """The fraction of the peak that kernels of this kind reach."""
    figure = profile.efficiency.get(kind) or profile.efficiency.get("other")
    return figure.value if figure else FALLBACK_EFFICIENCY


def _format(precision: Precision) -> Precision:
    """The format of the activations: weight-only INT4 keeps them as they are."""
    return Precision.FP32 if precision is Precision.INT4 else precision


def _range(us: float, profile: DeviceProfile) -> Estimate:
    """The estimate with the error that the profile admits."""
    low, high = FALLBACK_ERROR
    if profile.error:
        low, high = profile.error.low.value, profile.error.high.value
    return Estimate(us, us * low, us * high)
