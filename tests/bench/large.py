"""Memory and time of a compilation without search, on a generated model of 2.5 GB.

Run `python tests/bench/large.py`. The model is written to a temporary folder (which needs three
times its size) and removed afterwards. First row: no data, so everything stays fp32. With `--int8`
a second row: int8 calibrated on random numbers. Asked: at most 1.6 times the model's size, 180 s.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hwc.toolchain.codec import encode
from support.compilation import HWC, environment, write_json
from support.large_model import WIDTH, make_large
from support.memory import Peak, watch
from support.tables import markdown, say

TIMES_SIZE = 1.6
SECONDS = 180.0
_UNIFORM = ("--strategy", "uniform", "--input", f"1x8x{WIDTH}")
RUNS = {"fp32": _UNIFORM}
INT8 = {"int8": (*_UNIFORM, "--precision", "int8", "--allow-random-calibration")}


@dataclass(frozen=True, slots=True)
class Row:
    """One compilation of the large model."""

    name: str
    size: int
    seconds: float
    peak: Peak

    def cells(self) -> tuple[str, ...]:
        """As text: memory in times the model's size."""
        peak = self.peak
        memory = (f"{value / self.size:.2f}x" for value in (peak.rss, peak.pss, peak.anonymous))
        ended = "delivered" if peak.code == 0 else f"exit {peak.code}: {peak.stderr}"
        return self.name, f"{self.size / 1e9:.2f} GB", *memory, f"{self.seconds:.0f} s", ended


def measure(name: str, model: Path, size: int, asked: tuple[str, ...]) -> Row:
    """Compile the model in a process of its own."""
    bundle = model.with_suffix(".hwc")
    command = [HWC, "compile", model, "-o", bundle, "--force", "--device", "host", *asked]
    started = time.perf_counter()
    peak = watch([str(word) for word in command], environment(model.parent / "cache"))
    return Row(name, size, time.perf_counter() - started, peak)


def main() -> None:
    """Generate, compile and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=2.5, help="of weights [%(default)s]")
    parser.add_argument("--int8", action="store_true", help="also with random calibration")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="hwc-large-", dir=asked.folder) as folder:
        model = Path(folder) / "large.onnx"
        size = make_large(model, asked.gb * 1e9)
        say(f"{model}: {size / 1e9:.2f} GB")
        for name, words in (RUNS | (INT8 if asked.int8 else {})).items():
            rows.append(measure(name, model, size, words))
            say(" ".join(rows[-1].cells()))
    head = ("run", "model", "peak RSS", "peak PSS", "peak anonymous", "time", "result")
    say(markdown(head, [row.cells() for row in rows]))
    say(f"asked: at most {TIMES_SIZE}x and {SECONDS:.0f} s")
    if asked.out:
        write_json(asked.out, encode(rows))


if __name__ == "__main__":
    main()
