"""A writer that is killed loses the build in flight and no other; several writers lose none."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from os import kill
from pathlib import Path

import pytest
from hwc.toolchain.latency.table import LatencyTable

ROUNDS = 60  # the writers of every other one are killed while they write
KERNELS, BOUNDARIES = 30, 10  # of each build
# Forks a writer for each line that it reads, says its process id, and says when that has ended. A
# writer notes each build in a file once `put_build` has returned.
FORKS = f"""
import os, sys
from itertools import count, islice
from pathlib import Path
from hwc.toolchain.latency.rows import BoundaryRow, BuildRow, KernelRow
from hwc.toolchain.latency.table import LatencyTable, Mode
from hwc.toolchain.latency.timing import Setting, Timing, now
from hwc.toolchain.plan import Precision
from hwc.toolchain.slots import Work

SETTING = Setting("host", "onnxruntime", "1.32", 1)
TIMING = Timing.estimated(5.0, SETTING)

def write(path, notes, name, most):
    with LatencyTable.open(path, Mode.WRITE) as table, notes.open("a", buffering=1) as done:
        for i in islice(count(), most):
            build = BuildRow(f"{{name}}-{{i}}", "m", "", "{{}}", 1.0, 1, now())
            work = Work(i, 0, 0, 0)
            kernels = [KernelRow(f"k{{k}}", "int8", "conv", work, TIMING) for k in range({KERNELS})]
            edges = (Precision.FP32, Precision.INT8)
            boundaries = [BoundaryRow(*edges, e, TIMING) for e in range({BOUNDARIES})]
            table.put_build(SETTING, build, kernels, boundaries)
            done.write(build.id + "\\n")

def fork(path, notes, name, most):
    child = os.fork()
    if child:
        return child
    try:
        write(Path(path), Path(notes), name, int(most) or None)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)

for line in sys.stdin:
    path, notes, names, most = line.split()
    children = [fork(path, notes, name, most) for name in names.split(",")]
    print(*children, flush=True)
    codes = [os.waitpid(child, 0)[1] for child in children]
    print(*codes, flush=True)
"""


class Forks:
    """The process that forks writers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asked, self._answers = process.stdin, process.stdout

    def start(self, path: Path, names: str, most: int = 0) -> list[int]:
        """Start writers of these names, without end or of some builds each; their ids."""
        self._asked.write(f"{path} {path.parent / 'notes'} {names} {most}\n")
        self._asked.flush()
        return self.numbers()

    def numbers(self) -> list[int]:
        """The next answer; after `start`, how the writers ended."""
        return [int(word) for word in self._answers.readline().split()]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """One process, so that numpy is imported once."""
    command = [sys.executable, "-c", FORKS]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Forks(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def whole(path: Path) -> set[str]:
    """The builds of a table that has nothing else, each with all its rows."""
    with LatencyTable.open(path) as table:
        found = [build for setting in table.settings() for build in table.observations(setting)]
    for build in found:
        assert (len(build.kernels), len(build.boundaries)) == (KERNELS, BOUNDARIES)
    return {build.build.id for build in found}


def noted(path: Path) -> set[str]:
    """The builds that were said to be on disk."""
    notes = path.parent / "notes"
    return set(notes.read_text().split()) if notes.exists() else set()


def wait_for_a_note(path: Path, more_than: int = 0) -> None:
    """Wait until a build was said to be on disk."""
    while len(noted(path)) <= more_than:
        time.sleep(0.002)


def made(path: Path) -> bool:
    """Whether a writer got as far as to make the table."""
    halfway = path.with_name(f"{path.name}-journal").exists()
    return path.exists() and path.stat().st_size > 0 and not halfway


def test_kill_9_loses_nothing_that_was_written(forks: Forks, tmp_path: Path) -> None:
    """Every other writer has written something when its time comes; others only make the table."""
    rng = random.Random(0)  # noqa: S311 - moments, not secrets
    for number in range(ROUNDS):
        path = tmp_path / str(number // 4) / "t.sqlite"
        path.parent.mkdir(exist_ok=True)
        before = len(noted(path))
        (writer,) = forks.start(path, f"w{number}")
        if number % 2:
            wait_for_a_note(path, more_than=before)
        time.sleep(0.03 * rng.random())
        kill(writer, signal.SIGKILL)
        assert forks.numbers() == [signal.SIGKILL]
        assert number % 2 == 0 or made(path)
        if made(path):
            there = whole(path)
            assert noted(path) <= there
            assert len(there - noted(path)) <= number % 4 + 1  # killed before they were noted
        else:
            assert not noted(path)


def test_the_next_writer_goes_on_after_one_that_was_killed(forks: Forks, tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    (writer,) = forks.start(path, "killed")
    wait_for_a_note(path)
    kill(writer, signal.SIGKILL)
    forks.numbers()
    forks.start(path, "next", 3)
    assert forks.numbers() == [0]
    assert {"next-0", "next-1", "next-2"} | noted(path) <= whole(path)


def test_several_writers_of_a_new_table_all_succeed(forks: Forks, tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    forks.start(path, "a,b,c,d", 8)
    assert forks.numbers() == [0] * 4
    assert whole(path) == {f"{name}-{i}" for name in "abcd" for i in range(8)}
