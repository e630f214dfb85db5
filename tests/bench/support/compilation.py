"""Runs `hwc compile` as a user would: in a process of its own, with a cache of its own."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hwc.toolchain.bundle import Bundle
from hwc.toolchain.report import Report

HWC = Path(sys.executable).with_name("hwc")
BENCH = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one compilation ended.

    Attributes:
        code: Exit code; 0 is a delivery.
        seconds: Wall time of the whole process.
        message: The last line of stderr where it failed; otherwise empty.
        report: What it reported; None where it failed.
        bundle: What it delivered.
    """

    code: int
    seconds: float
    message: str
    report: Report | None
    bundle: Path


def compile_model(model: Path, bundle: Path, *asked: str, cache: Path) -> Outcome:
    """Compile a model.

    Args:
        model: The ONNX file.
        bundle: Where the bundle goes; one that is there is replaced.
        asked: Further arguments of the command.
        cache: Holds latency tables instead of the user's cache.
    """
    command = [str(HWC), "compile", str(model), "-o", str(bundle), "--force", "--quiet"]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, *asked], capture_output=True, text=True, check=False, env=environment(cache)
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        message = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Outcome(done.returncode, seconds, message, None, bundle)
    with Bundle.open(bundle) as opened:
        return Outcome(0, seconds, "", opened.report(), bundle)


def environment(cache: Path) -> dict[str, str]:
    """The environment of a command: this cache, and the metrics of these benchmarks at hand."""
    return {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(BENCH)}


def write_json(path: Path, result: object) -> None:
    """Write a result, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
