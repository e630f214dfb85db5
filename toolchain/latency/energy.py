"""What a kernel should take in energy on a device that is not at hand, and the limits of it."""

from dataclasses import dataclass

from ..device import DeviceProfile
from ..plan import NodeChoice, Sparsity
from ..slots import Work
from .estimate import estimate_us, executed, load, rates, touched
from .roofline import from_memory

_JOULES_A_PICOJOULE = 1e-12
_SECONDS_A_MICROSECOND = 1e-6


@dataclass(frozen=True, slots=True)
class Energy:
    """An estimated energy, and what it cannot be outside of if the duration is right.

    Attributes:
        joules: The estimate.
        low: Idle power for the shortest likely time.
        high: The whole power budget for the longest likely time.
    """

    joules: float
    low: float
    high: float


def energy_joules(
    work: Work, kind: str, choice: NodeChoice, profile: DeviceProfile, *, sparse: bool = False
) -> Energy | None:
    """Estimate one kernel: idle power x time + operations + bytes, within the mode's power budget.

    The picojoules are those of the profile's own clock: at a lower clock the voltage and with it
    the energy of an operation fall, so for a lower power mode this is on the high side.

    Args:
        work: What the kernel has to do.
        kind: Its operator class, as `Slot.kind` has it.
        choice: What it computes in.
        profile: The device, in its power mode.
        sparse: Whether its weights are 2:4 sparse.

    Returns:
        None where the profile says nothing about power.

    Raises:
        DeviceError: The precision does not run on the device.
    """
    budget = profile.budget
    if profile.power is None or budget is None:
        return None
    time = estimate_us(work, kind, choice, profile, sparse=sparse)
    idle = min(profile.power.idle_watts.value, budget.value)
    spent = idle * time.us * _SECONDS_A_MICROSECOND
    spent += work_joules(work, kind, choice, profile, sparse=sparse)
    return Energy(
        joules=min(spent, budget.value * time.us * _SECONDS_A_MICROSECOND),
        low=idle * time.low * _SECONDS_A_MICROSECOND,
        high=budget.value * time.high * _SECONDS_A_MICROSECOND,
    )


def work_joules(
    work: Work, kind: str, choice: NodeChoice, profile: DeviceProfile, *, sparse: bool = False
) -> float:
    """Estimate what one kernel's operations and bytes take, however long they take.

    Raises:
        DeviceError: The precision does not run on the device.
        ValueError: The profile says nothing about power.
    """
    if profile.power is None:
        raise ValueError(f"{profile.name} says nothing about power")
    work, precision = touched(work, kind), executed(choice.precision, profile)
    sparse = sparse or choice.sparsity is Sparsity.TWO_FOUR
    limits = rates(kind, precision, profile, sparse=sparse)
    far = from_memory(load(work, precision, sparse=sparse and work.weights > 0), limits)
    picojoules = 2 * work.macs * profile.power.pj_per_op[precision].value
    picojoules += float(far) * profile.power.pj_per_byte.value
    return picojoules * _JOULES_A_PICOJOULE
