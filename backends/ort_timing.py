"""Timing graphs kernel by kernel in ONNX Runtime, in place and in turns.

An edge device imports this module with nothing but numpy and onnxruntime installed.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..toolchain.output import scratch_folder
from .ort_session import Options, open_session, refusals

Times = npt.NDArray[np.float64]
_WARM_UP = 3  # runs that fill caches and pools before any counts
_TURN_US, _MOST_REPEATS = 1000.0, 20  # how long one graph runs before it is another's turn
_SUFFIX = "_kernel_time"  # of the profiler's events that are about a whole kernel


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph to be timed.

    Attributes:
        data: The serialised ModelProto.
        folder: Where its external weights lie; None where it holds them all.
    """

    data: bytes
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class RawBuild:
    """One build of a graph, measured, and not yet looked into.

    Attributes:
        events: Microseconds of every run of every node under the profiler, by the node's name.
        graph: The graph that really ran: a ModelProto without its larger weights.
        total_us: CPU time of one run without the profiler, in microseconds; shape (runs,).
        wall_us: Wall time of the same runs, in microseconds; shape (runs,).
    """

    events: Mapping[str, Times]
    graph: bytes
    total_us: Times
    wall_us: Times


class _Subject:
    """A graph in its two sessions: one with the profiler, and one without."""

    def __init__(self, graph: Graph, path: Path, feeds: Mapping[str, Any], threads: int) -> None:
        options = Options(threads, profile=True, optimised_path=path)
        self._profiled = open_session(graph.data, options, external_folder=graph.folder)
        self._plain = open_session(graph.data, Options(threads), external_folder=graph.folder)
        self._feeds = {i.name: feeds[i.name] for i in self._plain.get_inputs()}
        self._path = path
        self._repeat = 1
        self._total_us: list[float] = []
        self._wall_us: list[float] = []

    def warm_up(self) -> None:
        """Run for the first times, and see how many runs make one turn."""
        fastest = math.inf
        for _ in range(_WARM_UP):
            start = time.perf_counter_ns()
            self._plain.run(None, self._feeds)
            fastest = min(fastest, (time.perf_counter_ns() - start) / 1e3)
        self._repeat = min(_MOST_REPEATS, math.ceil(_TURN_US / fastest))

    def turn(self) -> None:
        """Run some times in each session."""
        for _ in range(self._repeat):
            self._profiled.run(None, self._feeds)
        self._plain.run(None, self._feeds)
        wall, cpu = time.perf_counter_ns(), time.process_time_ns()
        for _ in range(self._repeat):
            self._plain.run(None, self._feeds)
        self._total_us.append((time.process_time_ns() - cpu) / 1e3 / self._repeat)
        self._wall_us.append((time.perf_counter_ns() - wall) / 1e3 / self._repeat)

    def result(self) -> RawBuild:
        """Stop the profiler, and say what was measured."""
        events = _read_events(Path(self._profiled.end_profiling()))
        total, wall = np.array(self._total_us), np.array(self._wall_us)
        return RawBuild(events, self._path.read_bytes(), total, wall)


def time_graphs(
    graphs: Iterable[Graph],
    feeds: Mapping[str, Any],
    *,
    runs: int,
    threads: int = 1,
    told: Callable[[], None] = lambda: None,
) -> list[RawBuild]:
    """Time several graphs in place, kernel by kernel, in turns.

    In turns, because what slows the machine for a while must fall on all of them alike; a short
    graph runs several times in its turn, because the others leave it cold caches. Each graph has
    two sessions: one with the profiler, which costs about a microsecond a kernel, and one without,
    which says what the whole really takes.

    Args:
        graphs: The graphs; each is asked for once the one before it has been opened.
        feeds: An array for every input of every graph.
        runs: Turns of each graph.
        threads: Threads of one inference; 0: one for each core.
        told: Called after each turn of all.

    Raises:
        BackendError: The runtime refuses a graph, or the feeds.
        OutputError: The disk is too full for the profiler.
    """
    with scratch_folder("hwc-profile-") as folder:
        subjects = [
            _Subject(graph, folder / f"{i}.onnx", feeds, threads) for i, graph in enumerate(graphs)
        ]
        with refusals():
            for subject in subjects:
                subject.warm_up()
            for _ in range(runs):
                for subject in subjects:
                    subject.turn()
                told()
        return [subject.result() for subject in subjects]


def _read_events(path: Path) -> Mapping[str, Times]:
    """Microseconds of every run of every node, by the node's name."""
    times: dict[str, list[float]] = {}
    for event in json.loads(path.read_text()):
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX):
            times.setdefault(event["name"].removesuffix(_SUFFIX), []).append(event["dur"])
    path.unlink()
    return {name: np.asarray(values, np.float64) for name, values in times.items()}
