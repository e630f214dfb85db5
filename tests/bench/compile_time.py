"""How long a user waits: `hwc compile` of EfficientNet-Lite0 from scratch, and `hwc --help`.

Run `python tests/bench/compile_time.py`. The compilation runs in a fresh process with an empty
latency table, calibrates on 128 pictures and judges by labels; its wall time counts from the start
of the process to its end. The calibration data has fewer pictures than that, so mirrored ones fill
it up, and the pictures themselves serve search and report. Asked: 60 s, and 0.4 s of CPU for help.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from hwc.toolchain.engine import Array
from hwc.toolchain.npz import write_npz
from support.calibration import feeds, labels
from support.compilation import HWC, Outcome, compile_model, environment, write_json
from support.devkit import Case, SkipError, cases
from support.tables import markdown, say

MODEL = "efficientnet_lite0"
COMPILE_SECONDS = 60.0
HELP_SECONDS = 0.4
HELP_RUNS = 5


def help_seconds(cache: Path) -> list[float]:
    """CPU seconds of `hwc --help`, children included; sorted."""
    taken = []
    for _ in range(HELP_RUNS):
        child = subprocess.Popen([HWC, "--help"], stdout=subprocess.DEVNULL, env=environment(cache))
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"hwc --help ended with {child.returncode}")
        taken.append(usage.ru_utime + usage.ru_stime)
    return sorted(taken)


def pictures(case: Case, count: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Data to calibrate on, `count` pictures filled up with mirrored ones, and data to judge by."""
    name = next(iter(next(feeds(case))))
    real = np.stack([feed[name] for feed in feeds(case)])
    classes = labels(case)
    assert classes is not None  # these pictures have labels
    mirrored = np.flip(real, -1)[: max(0, count - len(real))]
    both = np.concatenate([real[:count], mirrored])
    return (
        {name: both, "labels": np.concatenate([classes[:count], classes[: len(mirrored)]])},
        {name: real, "labels": classes},
    )


def compile_from_scratch(case: Case, count: int) -> tuple[Outcome, str]:
    """Compile with everything still to be done; also says what the data was."""
    with tempfile.TemporaryDirectory(prefix="hwc-compile-time-") as name:
        folder = Path(name)
        calibration, judged = pictures(case, count)
        write_npz(folder / "calibration.npz", calibration)
        write_npz(folder / "judged.npz", judged)
        outcome = compile_model(
            case.path,
            folder / "out.hwc",
            *("--device", "host", "--max-drop", "1%"),
            *("--data", str(folder / "calibration.npz"), "--eval", str(folder / "judged.npz")),
            cache=folder / "cache",
        )
    sizes = [len(data["labels"]) for data in (calibration, judged)]
    mirrored = max(0, sizes[0] - sizes[1])
    return outcome, f"{sizes[0]} pictures ({mirrored} of them mirrored), judged by {sizes[1]}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=128, help="to calibrate on [%(default)s]")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hwc-help-") as cache:
        helped = help_seconds(Path(cache))
    median = statistics.median(helped)
    say(
        f"hwc --help: {median:.2f} s CPU, median of {HELP_RUNS} "
        f"({helped[0]:.2f} to {helped[-1]:.2f}); asked {HELP_SECONDS} s"
    )
    result: dict[str, object] = {"help": helped}
    try:
        (case,) = cases([MODEL])
    except SkipError as reason:
        say(f"skipped the rest: {reason}")
        return
    outcome, data = compile_from_scratch(case, asked.images)
    if outcome.report is None:
        raise SystemExit(f"hwc compile ended with {outcome.code}: {outcome.message}")
    stages = dict(sorted(outcome.report.seconds.items(), key=lambda stage: -stage[1]))
    stages["start, imports, bundle"] = outcome.seconds - sum(stages.values())
    say(f"hwc compile {MODEL}, {data}:")
    rows = [(stage, f"{seconds:.1f}") for stage, seconds in stages.items()]
    say(markdown(("stage", "wall s"), [*rows, ("all", f"{outcome.seconds:.1f}")]))
    say(f"{outcome.seconds:.1f} s; asked {COMPILE_SECONDS:.0f} s")
    if asked.out:
        write_json(asked.out, {**result, "data": data, "all": outcome.seconds, "stages": stages})


if __name__ == "__main__":
    main()
