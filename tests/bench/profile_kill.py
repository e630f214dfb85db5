"""What `hwc profile` loses when it is killed: kill -9 at random moments of a real measurement.

Run `python tests/bench/profile_kill.py`. One table is measured again and again, each time killed at
a random moment and looked into: it must open, and hold every build that it held before, whole. Then
the measurement is let through, and the number of builds that it still had to make is printed.
Asked: 30 kills, no row lost but those of the build in flight.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from hwc.toolchain.latency.rows import MeasuredBuild
from hwc.toolchain.latency.table import LatencyTable
from support.devkit import Case, SkipError, cases
from support.tables import say

MODEL = "resnet20_cifar10"
KILLS = 30
LONGEST = 4.0  # seconds until a kill; starting takes about one
PROBES = 60  # so many that 30 short lives do not finish them
_START = "import sys; from hwc.tools.cli import main; main(sys.argv[1:])"


def start(case: Case, table: Path) -> subprocess.Popen[bytes]:
    """Begin or go on with the measurement."""
    words = ["profile", case.path, "--table", table, "--probes", PROBES, "--checks", 0, "-q"]
    return subprocess.Popen(
        [sys.executable, "-c", _START, *map(str, words)], stdout=subprocess.DEVNULL
    )


def held(table: Path) -> dict[str, MeasuredBuild]:
    """Every build in the table, by its id; a damaged table raises."""
    if not table.exists():
        return {}
    with LatencyTable.open(table) as opened:
        return {
            build.build.id: build
            for setting in opened.settings()
            for build in opened.observations(setting)
        }


def main() -> None:
    """Kill, look, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=KILLS, help="[%(default)s]")
    asked = parser.parse_args()
    try:
        (case,) = cases([MODEL])
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    moments = np.random.default_rng(0)
    before: dict[str, MeasuredBuild] = {}
    lost = 0
    with tempfile.TemporaryDirectory(prefix="hwc-bench-kill-") as name:
        table = Path(name) / "t.sqlite"
        for _ in range(asked.kills):
            running = start(case, table)
            time.sleep(moments.uniform(0.0, LONGEST))
            running.send_signal(signal.SIGKILL)
            running.wait()
            now = held(table)
            lost += sum(now.get(build) != rows for build, rows in before.items())
            before = now
        if start(case, table).wait():
            raise SystemExit("the last run did not end well")
        done = held(table)
        lost += sum(done.get(build) != rows for build, rows in before.items())
    kept = f"{len(before)} builds kept, {lost} lost or changed"
    say(f"{asked.kills} kills: {kept}; {len(done)} once it was let through")


if __name__ == "__main__":
    main()
