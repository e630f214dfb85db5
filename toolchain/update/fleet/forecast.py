"""What a planned update of a fleet is expected to look like: bytes, hours, and when it stops."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .inventory import Device
from .looks import Outcome, outcome
from .planner import FleetPlan
from .rollout import Rollout
from .simulate import SHARES, Behaviour, simulate
from .timeline import Update

RATES = (0.001, 0.01, 0.05, 0.2)  # of failing devices, for each of which a stop is foretold
_POINTS = 200  # of a curve
_USUAL = Behaviour(failures=0.001, power_cuts=0.001)


@dataclass(frozen=True, slots=True)
class Stop:
    """What the stop rule does to a release that fails on this part of the devices."""

    rate: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Forecast:
    """One rollout of a good release, simulated, and the stop rule's promises, computed.

    Attributes:
        devices: That are sent anything.
        shares: Parts per 10,000 of the fleet after each phase.
        opened: Hours at which the phases begin.
        hours: Until 50, 90 and 99 % of the devices have it; NaN where they never do.
        curve: Hours, and the part of the devices that have it then.
        wire: Bytes over all links, with what is lost and sent again.
        tolerated: Rate of failures that is declared acceptable.
        z: Of the bound that stops.
        stops: At that rate first, then at `RATES`.
    """

    devices: int
    shares: tuple[int, ...]
    opened: tuple[float, ...]
    hours: tuple[float, ...]
    curve: tuple[tuple[float, float], ...]
    wire: float
    tolerated: float
    z: float
    stops: tuple[Stop, ...]


def forecast(
    plan: FleetPlan, devices: Sequence[Device], *, tolerated: float, seed: int
) -> Forecast | None:
    """Roll the plan out once in simulation; None where no device is sent anything.

    Args:
        plan: What each group is sent.
        devices: That were planned for.
        tolerated: Rate of failures that is acceptable.
        seed: Of what is left to chance.
    """
    chosen = {(c.installed, c.price, c.memory): c for c in plan.choices if c.hops}
    sent = [d for d in devices if (d.installed, d.link.price, d.memory) in chosen]
    if not sent:
        return None
    each = [chosen[d.installed, d.link.price, d.memory] for d in sent]
    update = Update(np.array([float(c.size) for c in each]), np.array([c.seconds for c in each]))
    rollout = Rollout.of(len(sent), tolerated=tolerated)
    run = simulate(sent, update, rollout, _USUAL, seed=seed)
    had = np.arange(1, len(run.finished) + 1) / len(sent)
    points = np.unique(np.linspace(0, len(had) - 1, min(_POINTS, len(had))).astype(int))
    return Forecast(
        devices=len(sent),
        shares=rollout.shares,
        opened=run.opened,
        hours=tuple(run.hours(share) for share in SHARES),
        curve=tuple((float(run.finished[i]), float(had[i])) for i in points),
        wire=run.wire,
        tolerated=tolerated,
        z=rollout.rule.z,
        stops=tuple(
            Stop(rate, outcome(rollout.rule, rollout.looks, rate)) for rate in (tolerated, *RATES)
        ),
    )
