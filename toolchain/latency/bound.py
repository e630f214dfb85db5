"""What holds a kernel up: its arithmetic, the bytes it moves, or being started."""

from dataclasses import replace
from enum import StrEnum

from ..device import DeviceProfile
from ..plan import NodeChoice
from ..slots import Work
from .estimate import estimate_us

_NOTHING = Work(macs=0, weights=0, reads=0, writes=0)


class Bound(StrEnum):
    """What would have to get faster for the kernel to get faster."""

    COMPUTE = "compute"
    BANDWIDTH = "bandwidth"
    LAUNCH = "launch"


def bound_of(work: Work, kind: str, choice: NodeChoice, profile: DeviceProfile) -> Bound:
    """What bounds a kernel on a device, by the device's estimates.

    The estimates are asked themselves: whether the kernel takes as long without its arithmetic, and
    whether a kernel that has nothing to do takes most of that time.

    Raises:
        DeviceError: The precision does not run on the device.
    """
    whole = estimate_us(work, kind, choice, profile).us
    empty = estimate_us(_NOTHING, kind, choice, profile).us
    moving = estimate_us(replace(work, macs=0), kind, choice, profile).us
    if whole <= 2 * empty:
        return Bound.LAUNCH
    return Bound.COMPUTE if moving < whole else Bound.BANDWIDTH
