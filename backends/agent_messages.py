"""What hwc and its agent on a device tell each other: who it is, what to time, what came of it.

The agent begins with a hello. hwc says what to time, with the feeds, and sends as many graphs as
it announced; the agent tells of each turn, and in the end sends the builds and done, or an error.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..toolchain.host import Host
from .agent_frames import Frame, Limits
from .ort_timing import RawBuild, Times

PROTOCOL = 1  # raised when an older side could not make sense of what a newer one says
LONGEST_US = 1e9  # of one run of one kernel: a quarter of an hour
LONGEST_TEXT = 1000
_US = np.dtype("<f8")  # times on the way, so that no header of theirs need be trusted
# A ModelProto holds 2 GiB at most.
AGENT_LIMITS = Limits(header=1 << 20, part=1 << 31, total=1 << 32, count=1 << 10)
# A device is not trusted to be kind to this machine's memory; weights do not come back.
REPLY_LIMITS = Limits(header=1 << 24, part=1 << 28, total=1 << 28, count=4)


class Kind(StrEnum):
    """What a message is."""

    HELLO = "hello"
    TIME = "time"
    GRAPH = "graph"
    TURN = "turn"
    BUILD = "build"
    DONE = "done"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Hello:
    """Who an agent is.

    Attributes:
        protocol: The protocol that it speaks.
        hwc: Its version of hwc.
        python: Its version of Python.
        version: Its version of onnxruntime.
        host: The machine.
        free_gib: Memory that is free there, in GiB; None where the system does not say.
    """

    protocol: int
    hwc: str
    python: str
    version: str
    host: Host
    free_gib: float | None

    def frame(self) -> Frame:
        """As a message."""
        host = {**asdict(self.host), "isa": sorted(self.host.isa)}
        host["caches"] = [[level, kib] for level, kib in self.host.caches.items()]
        return Frame(Kind.HELLO, {**asdict(self), "host": host})

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """Read a message, and check it.

        Raises:
            ValueError: It is another, or says what cannot be.
        """
        said = _Fields(_expect(frame, Kind.HELLO).fields)
        host = _Fields(said.mapping("host"))
        return cls(
            protocol=said.whole("protocol"),
            hwc=said.text("hwc"),
            python=said.text("python"),
            version=said.text("version"),
            host=Host(
                arch=host.text("arch"),
                model=host.text("model"),
                cores=max(1, host.whole("cores")),
                threads=max(1, host.whole("threads")),
                mhz=host.number("mhz"),
                isa=frozenset(host.texts("isa")),
                caches=dict(_pairs(host.sequence("caches"))),
                memory_gib=host.number("memory_gib"),
            ),
            free_gib=said.number("free_gib"),
        )


@dataclass(frozen=True, slots=True)
class Order:
    """What to time; its graphs follow one by one.

    Attributes:
        graphs: How many graphs follow.
        feeds: What all of them are fed.
        runs: Turns of each graph.
        threads: Threads of one inference; 0: one for each core.
    """

    graphs: int
    feeds: Mapping[str, npt.NDArray[Any]]
    runs: int
    threads: int

    def frame(self) -> Frame:
        """As a message."""
        fields = {"graphs": self.graphs, "runs": self.runs, "threads": self.threads}
        parts = tuple(map(_packed, self.feeds.values()))
        return Frame(Kind.TIME, {**fields, "feeds": list(self.feeds)}, parts)

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """Read a message, and check it.

        Raises:
            ValueError: It is another, or says what cannot be.
        """
        said = _Fields(_expect(frame, Kind.TIME).fields)
        names = said.texts("feeds")
        feeds = dict(zip(names, map(_unpacked, frame.parts), strict=True))
        return cls(said.whole("graphs"), feeds, said.whole("runs"), said.whole("threads"))


def graph_frame(data: bytes) -> Frame:
    """A serialised ModelProto as a message."""
    return Frame(Kind.GRAPH, parts=(data,))


def graph_of(frame: Frame | None) -> bytes:
    """The serialised ModelProto of a message.

    Raises:
        ValueError: It is another message.
        ConnectionError: There is none.
    """
    if frame is None:
        raise ConnectionError("the stream ended before all graphs had come")
    (data,) = _expect(frame, Kind.GRAPH).parts
    return data


def build_frame(build: RawBuild) -> Frame:
    """What was measured of a build, as a message."""
    counts = [len(times) for times in build.events.values()]
    every = np.concatenate([*build.events.values(), np.zeros(0)])
    fields = {"nodes": list(build.events), "counts": counts}
    times = (every, build.total_us, build.wall_us)
    return Frame(Kind.BUILD, fields, (build.graph, *(us.astype(_US).tobytes() for us in times)))


def build_of(frame: Frame, *, runs: int) -> RawBuild:
    """Read what was measured of a build, in so many runs, and check it.

    Raises:
        ValueError: It is another message, or says what cannot be.
    """
    said = _Fields(_expect(frame, Kind.BUILD).fields)
    names, counts = said.texts("nodes"), said.wholes("counts")
    graph, *arrays = frame.parts
    every, total, wall = (_times(array) for array in arrays)
    if len(names) != len(counts) or sum(counts) != len(every):
        raise ValueError("a build with times of other nodes than it names")
    if not len(total) == len(wall) == runs:
        raise ValueError(f"a build with {len(total)} and {len(wall)} runs, and not {runs}")
    ends = np.cumsum(counts, dtype=np.int64)[:-1]
    pieces = np.split(every, ends) if counts else []
    return RawBuild(dict(zip(names, pieces, strict=True)), graph, total, wall)


def error_frame(message: str, hint: str) -> Frame:
    """An error as a message."""
    return Frame(Kind.ERROR, {"message": message, "hint": hint})


def error_of(frame: Frame) -> tuple[str, str]:
    """The message and the hint of an error, fit to be printed.

    Raises:
        ValueError: It is another message.
    """
    said = _Fields(_expect(frame, Kind.ERROR).fields)
    return said.text("message"), said.text("hint")


def printable(text: str) -> str:
    """One line without what a terminal would take for commands."""
    shown = "".join(c if c.isprintable() else " " for c in text[:LONGEST_TEXT])
    return " ".join(shown.split())


class _Fields:
    """The fields of a message from a side that is not trusted; a wrong one is a ValueError."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def _get(self, key: str, *types: type) -> Any:  # noqa: ANN401 - of the types that are asked for
        value = self._fields.get(key)
        if type(value) not in types:  # an instance of bool is one of int
            raise ValueError(f"a message whose '{key}' is {str(value)[:80]!r}")
        return value

    def text(self, key: str) -> str:
        return printable(self._get(key, str))

    def whole(self, key: str) -> int:
        return _whole(self._get(key, int))

    def number(self, key: str) -> float | None:
        value = self._get(key, int, float, type(None))
        if value is not None and not 0 <= value < LONGEST_US:
            raise ValueError(f"a message whose '{key}' is {value}")
        return value if value is None else float(value)

    def mapping(self, key: str) -> Mapping[str, object]:
        return dict(self._get(key, dict))

    def sequence(self, key: str) -> list[object]:
        return list(self._get(key, list))

    def texts(self, key: str) -> list[str]:
        """A list of different texts, such as names of tensors: as they are."""
        values = self._get(key, list)
        if not all(type(value) is str for value in values) or len(set(values)) < len(values):
            raise ValueError(f"a message whose '{key}' is not a list of different texts")
        return list(values)

    def wholes(self, key: str) -> list[int]:
        return [_whole(value) for value in self._get(key, list)]


def _expect(frame: Frame, kind: Kind) -> Frame:
    if frame.kind != kind:
        raise ValueError(f"a message '{printable(frame.kind)}' where '{kind}' is due")
    return frame


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError(f"a message with {str(value)[:80]!r} for a whole number")
    return value


def _pairs(values: Sequence[object]) -> list[tuple[int, int]]:
    """Pairs of whole numbers: keys of a JSON object would be texts."""
    pairs = []
    for value in values:
        match value:
            case [level, size]:
                pairs.append((_whole(level), _whole(size)))
            case _:
                raise ValueError("a message whose caches are not pairs")
    return pairs


def _packed(array: npt.NDArray[Any]) -> bytes:
    """An array as npy, which keeps its type and shape; text without pickle."""
    plain = array.astype(np.str_) if array.dtype.hasobject else array
    stream = io.BytesIO()
    np.lib.format.write_array(stream, plain, allow_pickle=False)
    return stream.getvalue()


def _unpacked(data: bytes) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return array


def _times(data: bytes) -> Times:
    """Microseconds that can be."""
    us = np.frombuffer(data, _US).astype(np.float64)
    if not ((us >= 0) & (us <= LONGEST_US)).all():
        raise ValueError("times that are negative, or absurdly long")
    return us
