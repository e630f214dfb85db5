"""When a rollout stops, and how long one takes, on a simulated fleet.

Run `python tests/bench/fleet.py`. The first table tells releases that fail on some part of the
devices: how often the rollout stops and how many devices had begun the update by then, in
simulated rollouts, beside what the stop rule does to reports that come in one by one, which is
computed exactly. A stop of a release no worse than what is tolerated is a false one. The second
tells bytes and times of rollouts of a good release, by the bytes of its update.
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from hwc.toolchain.update.fleet.inventory import Device
from hwc.toolchain.update.fleet.links import LINKS
from hwc.toolchain.update.fleet.looks import outcome
from hwc.toolchain.update.fleet.rollout import Rollout
from hwc.toolchain.update.fleet.simulate import SHARES, Behaviour, Run, simulate
from hwc.toolchain.update.fleet.timeline import Update
from support.compilation import write_json
from support.tables import markdown, say

ASKED = 75  # devices that a release failing on one in twenty may reach, on average
GOOD, BAD = 0.001, 0.05
RATES = (GOOD, 0.0025, 0.005, 0.01, 0.02, BAD, 0.1, 0.3)
MIX = {
    "ethernet": 0.25,
    "wifi": 0.30,
    "lte": 0.20,
    "lte-m": 0.10,
    "depot": 0.10,
    "visit": 0.03,
    "satellite": 0.02,
}
POWER_CUTS = 0.01  # an hour: one every four days
APPLY = 50e6  # bytes a second


@dataclass(frozen=True, slots=True)
class Row:
    """One release, rolled out again and again.

    Attributes:
        rate: Devices on which it fails, as a part.
        silent: Of these, those that never report, as a part.
        exact: The probability that the rule stops it, over all looks at failures that are told.
        exact_reports: Mean reports at the stop, computed likewise.
        runs: Rollouts that were simulated.
        stopped: Of these, the ones that stopped.
        stalled: Of these, the ones where too few devices reported for the next phase.
        begun: Devices that had begun the update at the stop: mean, and the width of its interval.
        begun_95: Its 95th percentile.
        failed: Devices on which it failed until the stop, mean.
        hours: Until the stop, mean.
    """

    rate: float
    silent: float
    exact: float
    exact_reports: float
    runs: int
    stopped: int
    stalled: int
    begun: float
    begun_half_width: float
    begun_95: float
    failed: float
    hours: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is rolled out to, and how."""

    devices: Sequence[Device]
    rollout: Rollout
    runs: int

    @classmethod
    def of(cls, devices: int, runs: int) -> "Fleet":
        """A mixed fleet, in an order of its own."""
        names = list(MIX)
        chosen = np.random.default_rng(0).choice(names, size=devices, p=list(MIX.values()))
        fleet = [Device(f"device-{i}", "camera", 1, LINKS[str(n)]) for i, n in enumerate(chosen)]
        return cls(fleet, Rollout.of(devices), runs)

    def run(self, size: float, behaviour: Behaviour) -> Iterator[Run]:
        """Rollouts of an update of so many bytes; run i always has the seed i."""
        n = len(self.devices)
        update = Update(np.full(n, size), np.full(n, size / APPLY))
        for seed in range(self.runs):
            yield simulate(self.devices, update, self.rollout, behaviour, seed=seed)


def measure(fleet: Fleet, size: float, behaviour: Behaviour) -> Row:
    """Roll one release out again and again."""
    runs = list(fleet.run(size, behaviour))
    stops = [run for run in runs if run.stopped is not None]
    begun = np.array([run.begun for run in stops], dtype=float)
    # A release that fails without a word looks to the rule like one that fails less.
    told = behaviour.failures * (1 - behaviour.silent)
    exact = outcome(fleet.rollout.rule, fleet.rollout.looks, told)
    return Row(
        *(behaviour.failures, behaviour.silent, exact.stop, exact.reports),
        runs=len(runs),
        stopped=len(stops),
        stalled=sum(run.stalled for run in runs),
        begun=_mean(begun),
        begun_half_width=1.96 * float(np.std(begun)) / len(begun) ** 0.5 if stops else math.nan,
        begun_95=float(np.percentile(begun, 95)) if stops else math.nan,
        failed=_mean([run.failed for run in stops]),
        hours=_mean([run.stopped for run in stops if run.stopped is not None]),
    )


def _mean(values: Sequence[float] | np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def stop_table(rows: Sequence[Row]) -> str:
    """How often and when each release stops."""
    head = (
        "fails on|of these silent|stops: exact|simulated|reports at the stop: exact"
        "|devices begun: simulated|95th percentile|failed devices|hours|stalled"
    )
    cells = [
        (
            f"{row.rate:.2%}",
            f"{row.silent:.0%}",
            f"{row.exact:.3%}",
            f"{row.stopped} of {row.runs}",
            _text(row.exact_reports),
            f"{_text(row.begun)} ± {_text(row.begun_half_width)}" if row.stopped else "-",
            *map(_text, (row.begun_95, row.failed, row.hours)),
            str(row.stalled),
        )
        for row in rows
    ]
    return markdown(head.split("|"), cells)


def _text(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"


def speed_table(fleet: Fleet, sizes: Sequence[float]) -> tuple[str, list[dict[str, float]]]:
    """Bytes, price and times of a good release, by the size of its update."""
    behaviour = Behaviour(GOOD, power_cuts=POWER_CUTS)
    head = ["update, MB", "GB on all links", *(f"hours to {share:.0%}" for share in SHARES)]
    cells, figures = [], []
    everywhere = replace(fleet.rollout, shares=fleet.rollout.shares[-1:])
    for title, rollout in (("in phases", fleet.rollout), ("all at once", everywhere)):
        for size in sizes:
            runs = list(replace(fleet, rollout=rollout).run(size, behaviour))
            kept = [run for run in runs if run.stopped is None and not run.stalled]
            wire = _mean([run.wire for run in kept]) / 1e9
            hours = [_mean([run.hours(share) for run in kept]) for share in SHARES]
            cells.append(
                (title, f"{size / 1e6:g}", f"{wire:.2f}", *(f"{hour:.1f}" for hour in hours))
            )
            figures.append(
                {"phases": len(rollout.shares), "bytes": size, "wire_gb": wire}
                | {f"hours_{share:.0%}": hour for share, hour in zip(SHARES, hours, strict=True)}
            )
    return markdown(["rollout", *head], cells), figures


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=10_000, help="[%(default)s]")
    parser.add_argument("--runs", type=int, default=1000, help="of each release [%(default)s]")
    parser.add_argument(
        *("--sizes",),
        type=float,
        nargs="+",
        default=(18e6, 9.8e6, 0.23e6),
        help="bytes of an update: full, as a delta of fp32, of int8 with frozen scales %(default)s",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    asked = parser.parse_args()
    started = time.process_time()
    fleet = Fleet.of(asked.devices, asked.runs)
    rule = fleet.rollout.rule
    say(f"{asked.devices} devices; shares of 10,000 by phase: {fleet.rollout.shares}")
    say(f"tolerated {rule.tolerated:.2%}, z = {rule.z:.3f}, at least {rule.least} failures\n")
    releases = [Behaviour(rate, power_cuts=POWER_CUTS) for rate in RATES]
    releases += [Behaviour(rate, silent, POWER_CUTS) for rate, silent in ((BAD, 0.5), (0.3, 1.0))]
    rows = [measure(fleet, asked.sizes[-1], behaviour) for behaviour in releases]
    say(stop_table(rows))
    table, figures = speed_table(replace(fleet, runs=min(20, asked.runs)), asked.sizes)
    say(f"\n{table}\n")
    bad = next(row for row in rows if row.rate == BAD and not row.silent)
    good = rows[0]
    say(f"fails on {BAD:.0%}: {bad.begun:.1f} devices had begun at the stop (asked {ASKED})")
    say(f"fails on {GOOD:.1%}: {good.stopped} of {good.runs} stopped; exact {good.exact:.4%}")
    say(f"{time.process_time() - started:.0f} CPU seconds")
    if asked.out:
        write_json(asked.out, {"stops": [asdict(row) for row in rows], "rollouts": figures})


if __name__ == "__main__":
    main()
