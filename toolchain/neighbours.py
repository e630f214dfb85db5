"""What other programs take of this machine's cores while something is timed."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

_IDLE = (3, 4)  # columns of /proc/stat: idle, and waiting for a disk
_COUNTED = 8  # user to steal; what follows (guests) is in user already


class Neighbours:
    """Counts from its making how much of this process's cores others kept busy.

    Args:
        root: Where /proc is looked for.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._path = root / "proc/stat"
        self._start = self._counts()

    def share(self) -> float | None:
        """The fraction of the cores' time that others had, from 0 to 1; None: it is not known."""
        if self._start is None or (now := self._counts()) is None:
            return None
        busy, total = now[0] - self._start[0], now[1] - self._start[1]
        return None if total <= 0 else min(1.0, max(0.0, busy / total))

    def _counts(self) -> tuple[float, float] | None:
        """Seconds that others were busy, and that passed, summed over the cores."""
        try:
            lines = self._path.read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        ticks = [list(map(int, fields)) for fields in _mine(lines)]
        total = sum(map(sum, ticks))
        busy = total - sum(core[column] for core in ticks for column in _IDLE)
        hertz = os.sysconf("SC_CLK_TCK")
        return busy / hertz - time.process_time(), total / hertz


def _mine(lines: list[str]) -> Iterator[list[str]]:
    """The counts of each core that this process may run on."""
    allowed = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    for line in lines:
        name, *fields = line.split()
        if name in allowed:
            yield fields[:_COUNTED]
