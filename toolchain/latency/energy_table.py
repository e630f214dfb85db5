"""What every kernel takes in energy under every choice, for a search to add up."""

import numpy as np

from ..device import DeviceProfile
from .cost import CostModel
from .energy import work_joules
from .fused import fused
from .wiring import Floats

_MICROJOULES_A_JOULE = 1e6


def energy_table(cost: CostModel, profile: DeviceProfile) -> Floats | None:
    """Estimate each kernel: idle power x its time + operations + bytes, within the power budget.

    The time is what the cost model says, measured or not: one watt is one microjoule a microsecond.
    What takes no time, since another kernel does its work, takes no energy, and what a fused kernel
    need not move takes none either. Conversions between kernels, and what every plan pays beside
    its kernels, are not counted: no choice of one slot alone decides on them.

    Args:
        cost: What kernels take in time; knows the slots.
        profile: The device, in its power mode.

    Returns:
        Microjoules, shape (S, K), infinite where there is no such choice; None where the profile
        says nothing about power.

    Raises:
        DeviceError: A choice's precision does not run on the device.
    """
    budget = profile.budget
    if profile.power is None or budget is None:
        return None
    idle = min(profile.power.idle_watts.value, budget.value)
    inner = fused(cost.graph)
    table = np.full(cost.node_us.shape, np.inf)
    for s, slot in enumerate(cost.graph.slots):
        work = inner.get(s, slot.work)
        for k, choice in enumerate(slot.choices):
            us = float(cost.node_us[s, k])
            spent = work_joules(work, slot.kind, choice, profile) * _MICROJOULES_A_JOULE
            table[s, k] = min(idle * us + spent, budget.value * us)
    return table
