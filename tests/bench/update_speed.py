"""Time and memory of making and applying an update, by the size of the model.

Run `python tests/bench/update_speed.py` (20 and 200 MB; `--large`: 2 GB, too, which takes 5 GB of
disk). The model is a safetensors file of normal float32 weights; the new one has each moved by
normal noise of 1e-5. Making and applying run in processes of their own; memory is the most that
each had resident, above what it had once everything was imported.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from hwc.toolchain.update.content.describe import describe, write_release
from hwc.toolchain.update.delta.apply import apply
from hwc.toolchain.update.delta.file import UpdateFile
from hwc.toolchain.update.delta.files import Folder, PlainSink
from hwc.toolchain.update.delta.header import Strategy
from hwc.toolchain.update.delta.make import Options
from hwc.toolchain.update.delta.strategies import make
from hwc.toolchain.update.release import Compatibility
from support.tables import markdown, say

SIZES = (20, 200)  # MB
LARGE = 2000
TENSOR = 4_000_000  # weights of one tensor
_MB, _KIB = 1e6, 1 << 10
_STARTS = 5


def write_models(folder: Path, size: int) -> None:
    """Write the old and the new release of so many MB."""
    names = [f"w{i}" for i in range(max(1, round(size * _MB / 4 / TENSOR)))]
    for k, name in enumerate(("old", "new")):
        place = folder / name
        place.mkdir()
        with (place / "model.safetensors").open("wb") as file:
            file.write(_header(names))
            for seed in range(len(names)):
                rng = np.random.default_rng(seed)
                weights = rng.standard_normal(TENSOR, np.float32) * np.float32(0.05)
                if k:
                    weights += rng.standard_normal(TENSOR, np.float32) * np.float32(1e-5)
                file.write(weights.tobytes())
        release = describe(
            place,
            product="bench",
            version=name,
            seq=k,
            sec_epoch=0,
            compatibility=Compatibility(),
            golden=None,
            provenance={},
        )
        write_release(place, release)


def _header(names: list[str]) -> bytes:
    about = {
        name: {
            "dtype": "F32",
            "shape": [TENSOR],
            "data_offsets": [4 * i * TENSOR, 4 * (i + 1) * TENSOR],
        }
        for i, name in enumerate(names)
    }
    text = json.dumps(about).encode()
    return struct.pack("<Q", len(text)) + text


def do(what: str, folder: Path) -> None:
    """Make or apply, and print CPU seconds, wall seconds and bytes of memory as JSON."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is what it is now
    before = _peak()
    cpu, wall = time.process_time(), time.perf_counter()
    if what == "make":
        with Folder(folder / "old") as old, Folder(folder / "new") as new:
            make(new, old, folder / "u.hwcu", Options(Strategy.HASH))
    else:
        (folder / "made").mkdir()
        with UpdateFile.open(folder / "u.hwcu") as update, Folder(folder / "old") as old:
            apply(update, old, PlainSink(folder / "made"))
    took = time.process_time() - cpu, time.perf_counter() - wall
    say(json.dumps([*took, _peak() - before]))


def _peak() -> int:
    """Bytes that were resident at most (proc_pid_status(5), VmHWM)."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split("VmHWM:")[1].split()[0]) * _KIB


def measured(what: str, folder: Path) -> list[float]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--do", what, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    numbers: list[float] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def start_up() -> float:
    """CPU seconds that importing the agent's command takes in a fresh process: the median."""
    code = """
import time
before = time.process_time()
import hwc.tools.updates.update
print(time.process_time() - before)"""
    command = [sys.executable, "-c", code]
    runs = [
        float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for _ in range(_STARTS)
    ]
    return float(np.median(runs))


def row(size: int) -> tuple[str, ...]:
    """One size."""
    with tempfile.TemporaryDirectory(prefix="hwc-bench-") as name:
        folder = Path(name)
        say(f"{size} MB")
        write_models(folder, size)
        real = (folder / "new" / "model.safetensors").stat().st_size
        cpu, _, memory = measured("make", folder)
        _, wall, above = measured("apply", folder)
        same = (folder / "made" / "model.safetensors").read_bytes() == (
            folder / "new" / "model.safetensors"
        ).read_bytes()
        if not same:
            raise SystemExit("what was rebuilt is not the new model")
        update = (folder / "u.hwcu").stat().st_size
    return (
        *(f"{real / _MB:.0f} MB", f"{update / _MB:.1f} MB", f"{cpu / real * _MB:.3f}"),
        *(f"{memory / real:.2f}x", f"{real / wall / _MB:.0f} MB/s", f"{above / (1 << 20):.1f} MiB"),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", action="store_true", help="2 GB, too")
    parser.add_argument("--do", nargs=2, metavar=("WHAT", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.do:
        do(asked.do[0], Path(asked.do[1]))
        return
    rows = [row(size) for size in (*SIZES, *((LARGE,) if asked.large else ()))]
    asks = ("asked", "", "<= 0.05", "<= 5x", ">= 50 MB/s", "<= 12 MiB")
    head = ("model", "update", "make, CPU s/MB", "memory", "apply", "memory above imports")
    say(markdown(head, [*rows, asks]))
    say(f"start-up of the agent's command: {start_up():.2f} s of CPU (asked: at most 0.3 s)")


if __name__ == "__main__":
    main()
