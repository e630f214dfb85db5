"""Peak memory of a child process: in all, its share, and what no file backs."""

import os
import re
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_KIB = 1024
_SECONDS = 0.2  # between samples


@dataclass(frozen=True, slots=True)
class Peak:
    """Peaks of one process, in bytes.

    Attributes:
        rss: Resident set as the kernel counts it; pages of mapped files count, though the kernel
            drops them when it needs the memory.
        pss: Proportional share, sampled.
        anonymous: What no file backs, sampled: memory that the process really takes away.
        code: Exit code.
        stderr: The last line that it wrote there.
    """

    rss: int
    pss: int
    anonymous: int
    code: int
    stderr: str


def watch(command: Sequence[str], environment: Mapping[str, str]) -> Peak:
    """Run a command (Linux) and watch its memory; its children are not counted."""
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        ended = threading.Event()
        samples: list[tuple[int, int]] = [(0, 0)]
        sampler = threading.Thread(target=_sample, args=(child.pid, ended, samples))
        sampler.start()
        assert child.stderr is not None  # asked for above
        lines = child.stderr.read().strip().splitlines()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        sampler.join()
    pss, anonymous = (max(column) for column in zip(*samples, strict=True))
    last = lines[-1] if lines else ""
    return Peak(usage.ru_maxrss * _KIB, pss, anonymous, child.returncode, last)


def _sample(pid: int, ended: threading.Event, samples: list[tuple[int, int]]) -> None:
    """Read the two figures until the process is gone."""
    while not ended.wait(_SECONDS):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            return  # it has just ended
        figures = {key: int(kib) * _KIB for key, kib in _FIELDS.findall(text)}
        if figures:
            samples.append((figures["Pss"], figures["Anonymous"]))


_FIELDS = re.compile(r"^(Pss|Anonymous):\s+(\d+) kB$", re.MULTILINE)
