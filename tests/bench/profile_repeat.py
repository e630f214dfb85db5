"""How long `hwc profile` takes, and whether a second measurement says the same.

Run `python tests/bench/profile_repeat.py`. EfficientNet-Lite0 is measured twice by the command,
each time into an empty table; rows are compared that take at least 2 us, below which the clock's
own steps show. Asked: 90 s, and rows within 3 % in the median.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from hwc.toolchain.latency.rows import KernelRow
from hwc.toolchain.latency.table import LatencyTable
from support.devkit import SkipError, cases
from support.tables import say

MODEL = "efficientnet_lite0"
SHORT_US = 2.0
_START = "import sys; from hwc.tools.cli import main; main(sys.argv[1:])"


def profile(model: Path, table: Path) -> tuple[float, dict[tuple[str, str], KernelRow]]:
    """Measure once; seconds, and the rows."""
    words = ["profile", str(model), "--table", str(table), "-q"]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", _START, *words], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    with LatencyTable.open(table) as opened:
        (setting,) = opened.settings()
        return seconds, {(row.key, row.choice): row for row in opened.kernels(setting)}


def main() -> None:
    """Measure twice, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default=MODEL, help="[%(default)s]")
    asked = parser.parse_args()
    try:
        (case,) = cases([asked.model])
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="hwc-bench-repeat-") as name:
        first_s, first = profile(case.path, Path(name) / "a.sqlite")
        second_s, second = profile(case.path, Path(name) / "b.sqlite")
    pairs = [(row.timing.median_us, second[key].timing.median_us) for key, row in first.items()]
    us = np.array([pair for pair in pairs if max(pair) >= SHORT_US])
    ratio = us[:, 1] / us[:, 0]
    whole = us[:, 1].sum() / us[:, 0].sum()
    say(f"{case.name}: {first_s:.1f} s and {second_s:.1f} s; {len(first)} rows")
    say(f"{len(ratio)} rows of at least {SHORT_US:.0f} us, in sum {whole:.3f} of the first time")
    for name, off in (("as measured", ratio), ("at one speed", ratio / whole)):
        apart = np.abs(off - 1.0)
        tail = np.percentile(apart, 90)
        say(f"{name}: median {np.median(apart):.1%} apart, 90th percentile {tail:.1%}")


if __name__ == "__main__":
    main()
