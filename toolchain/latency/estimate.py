"""What a kernel should take on a device that is not at hand, and how wrong that may be."""

from dataclasses import dataclass, replace

from ..device import DeviceProfile
from ..errors import DeviceError
from ..plan import NodeChoice, Precision, Sparsity
from ..slots import Work
from .roofline import Load, Rates, kernel_us

# Where a profile says nothing: as far as kernels of unknown quality may be trusted to get.
FALLBACK_EFFICIENCY = 0.3
FALLBACK_GRAIN = 4096.0
FALLBACK_ERROR = (0.25, 4.0)

# Classes without matrix products: their efficiency is a fraction of the bandwidth.
MOVING = frozenset({"elementwise", "norm", "pool", "move"})


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


def estimate_us(
    work: Work, kind: str, choice: NodeChoice, profile: DeviceProfile, *, sparse: bool = False
) -> Estimate:
    """Estimate one kernel: launch + max(computing, moving the bytes).

    Where the choice says 2:4, the builder takes the faster of the sparse and the dense kernel:
    TensorRT times both.

    Args:
        work: What the kernel has to do.
        kind: Its operator class, as `Slot.kind` has it.
        choice: What it computes in.
        profile: The device.
        sparse: Whether its weights are 2:4 sparse; a device without such kernels runs them dense.

    Raises:
        DeviceError: The precision does not run on the device.
    """
    if choice.sparsity is Sparsity.TWO_FOUR:
        either = (
            estimate_us(work, kind, NodeChoice(choice.precision), profile, sparse=sparse)
            for sparse in (False, True)
        )
        return min(either, key=lambda estimate: estimate.us)
    precision = executed(choice.precision, profile)
    work = touched(work, kind)
    sparse = sparse and profile.sparse_2_4 is not None and work.weights > 0
    found = kernel_us(
        load(work, precision, sparse=sparse), rates(kind, precision, profile, sparse=sparse)
    )
    return _range(float(found), profile)


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
    conversion = Load(0.0, elements, 0.0, moved)
    return _range(float(kernel_us(conversion, rates("move", target, profile))), profile)


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


def touched(work: Work, kind: str) -> Work:
    """What a kernel really has to do: a mere look-up reads no more of a table than it writes."""
    return replace(work, weights=min(work.weights, work.writes)) if kind == "move" else work


def load(work: Work, precision: Precision, *, sparse: bool = False) -> Load:
    """What a kernel computes and moves in a precision that runs.

    Of 2:4 sparse weights every other one is stored, with two bits that say where it was.
    """
    bits = precision.weight_bits / 2 + 1 if sparse else precision.weight_bits
    activations = (work.reads + work.writes) * precision.activation_bits / 8
    return Load(float(work.macs), float(work.writes), work.weights * bits / 8, activations)


def rates(
    kind: str, precision: Precision, profile: DeviceProfile, *, sparse: bool = False
) -> Rates:
    """How fast the device runs kernels of this class in a precision that runs."""
    peak = profile.peak[precision].value * 1e6
    if sparse and profile.sparse_2_4:
        peak *= profile.sparse_2_4.value
    memory = profile.bandwidth.value * 1e3
    memory *= _efficiency(profile, kind if kind in MOVING else "memory", "memory")
    cached = profile.cache_bandwidth.value * 1e3 if profile.cache_bandwidth else memory
    return Rates(
        launch=profile.launch.value,
        compute=peak * _efficiency(profile, kind, "other"),
        units=float(profile.units),
        grain=profile.grain.value if profile.grain else FALLBACK_GRAIN,
        memory=memory,
        cache=profile.cache.value * 2**20,
        cached=cached,
    )


def _efficiency(profile: DeviceProfile, kind: str, otherwise: str) -> float:
    """The fraction of the peak that kernels of this kind reach."""
    figure = profile.efficiency.get(kind) or profile.efficiency.get(otherwise)
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
