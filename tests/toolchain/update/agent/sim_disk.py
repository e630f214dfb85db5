"""A disk in memory with a page cache: what was not synced may, or may not, survive a power cut."""

import errno
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from hwc.toolchain.update.agent.disk import Kind

Entry = tuple[Kind, int | str]  # a file's or folder's number, or what a link says
Change = tuple[str, Entry | None]  # of a name in a folder; None takes it away
Survivors = dict[tuple[int, int], float]  # (number, which change): 0 lost, 1 whole, else torn

ROOT = 0


def dice() -> random.Random:
    """The same numbers each time."""
    return random.Random(1)  # noqa: S311 - nothing here is secret


@dataclass(frozen=True, slots=True)
class Node:
    """A file or folder: what is surely on the disk, and what came since the last sync."""

    data: bytes = b""
    names: dict[str, Entry] = field(default_factory=dict)
    writes: tuple[tuple[int, bytes], ...] = ()
    changes: tuple[tuple[Change, ...], ...] = ()  # each in one step

    @property
    def now(self) -> bytes:
        """What a program reads."""
        data = self.data
        for offset, piece in self.writes:
            data = _laid(data, offset, piece)
        return data

    @property
    def entries(self) -> dict[str, Entry]:
        """What a program lists."""
        return _changed(self.names, self.changes) if self.changes else self.names

    def changed(self, *change: Change) -> "Node":
        """The folder after some names changed, in one step."""
        return replace(self, changes=(*self.changes, change))

    def written(self, data: bytes) -> "Node":
        """The file after an append."""
        return replace(self, writes=(*self.writes, (len(self.now), data)))

    def synced(self) -> "Node":
        """The same, surely on the disk."""
        return Node(self.now, self.entries)


@dataclass(slots=True)
class SimFile:
    """An open file."""

    disk: "SimDisk"
    number: int
    path: str

    def write(self, data: bytes) -> None:
        """Append."""
        self.disk.step("write", self.path)
        self.disk.nodes[self.number] = self.disk.nodes[self.number].written(bytes(data))

    def sync(self) -> None:
        """Make the file last."""
        if self.disk.step("sync", self.path):
            self.disk.nodes[self.number] = self.disk.nodes[self.number].synced()

    @property
    def size(self) -> int:
        """Bytes now."""
        return len(self.disk.nodes[self.number].now)

    def read(self, offset: int, size: int) -> bytes:
        """Some bytes."""
        return self.disk.nodes[self.number].now[offset : offset + size]

    def close(self) -> None:
        """Nothing."""


class SimDisk:
    """Implements the agent's `Disk`.

    Args:
        nodes: What is there.
        before: Called with each changing call and its path before it takes place; may raise.
        lost: The places in the agent's code whose syncs do nothing.
    """

    def __init__(
        self,
        nodes: dict[int, Node] | None = None,
        before: Callable[["SimDisk", str, str], None] | None = None,
        lost: frozenset[str] = frozenset(),
    ) -> None:
        self.nodes = nodes or {ROOT: Node()}
        self.before = before
        self.lost = lost
        self.sites: set[str] = set()
        self.calls = 0

    def step(self, call: str, path: str) -> bool:
        """Count a changing call; says whether a sync is to take place."""
        if self.before is not None:
            self.before(self, call, path)
        self.calls += 1
        if call != "sync":
            return True
        site = _site(path)
        self.sites.add(site)
        return site not in self.lost

    def copy(self) -> "SimDisk":
        """The disk as a process sees it that is killed and started again."""
        return SimDisk(dict(self.nodes), lost=self.lost)

    # What Disk asks for.

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Nobody else is there."""
        yield

    def free(self) -> int:
        """Enough."""
        return 1 << 30

    def kind(self, path: str) -> Kind | None:
        """What is there."""
        if not path:
            return Kind.FOLDER
        try:
            entry = self._entry(path)
        except FileNotFoundError:
            return None
        return entry[0] if entry else None

    def list(self, path: str) -> tuple[str, ...]:
        """Names in a folder."""
        return tuple(sorted(self.nodes[self._folder(path)].entries))

    def open(self, path: str) -> SimFile:
        """Open a file."""
        return SimFile(self, self._number(path, Kind.FILE), path)

    def target(self, path: str) -> str:
        """What a link says."""
        kind, target = self._entry(path) or (None, "")
        assert kind is Kind.LINK
        return str(target)

    def create(self, path: str) -> SimFile:
        """Make a file."""
        self.step("create", path)
        return SimFile(self, self._make(path, Kind.FILE), path)

    def append(self, path: str) -> SimFile:
        """Open a file to write behind its end."""
        return self.open(path)

    def mkdir(self, path: str) -> None:
        """Make a folder."""
        self.step("mkdir", path)
        self._make(path, Kind.FOLDER)

    def link(self, path: str, target: str) -> None:
        """Make a link."""
        self.step("link", path)
        if self.kind(path) is not None:
            raise FileExistsError(errno.EEXIST, "exists", path)
        self._change(path, (Kind.LINK, target))

    def rename(self, path: str, to: str) -> None:
        """Give another name."""
        self.step("rename", path)
        number, name = self._parent(path)
        other, new = self._parent(to)
        assert number == other
        entry = self.nodes[number].entries[name]
        self.nodes[number] = self.nodes[number].changed((name, None), (new, entry))

    def unlink(self, path: str) -> None:
        """Remove what is not a folder."""
        self.step("unlink", path)
        assert self.kind(path) not in (None, Kind.FOLDER)
        self._change(path, None)

    def rmdir(self, path: str) -> None:
        """Remove an empty folder."""
        self.step("rmdir", path)
        assert not self.list(path)
        self._change(path, None)

    def sync(self, path: str) -> None:
        """Make the names in a folder last."""
        if self.step("sync", path):
            number = self._folder(path)
            self.nodes[number] = self.nodes[number].synced()

    def _make(self, path: str, kind: Kind) -> int:
        if self.kind(path) is not None:
            raise FileExistsError(errno.EEXIST, "exists", path)
        number = max(self.nodes) + 1
        self.nodes[number] = Node()
        self._change(path, (kind, number))
        return number

    def _change(self, path: str, entry: Entry | None) -> None:
        number, name = self._parent(path)
        self.nodes[number] = self.nodes[number].changed((name, entry))

    def _entry(self, path: str) -> Entry | None:
        number, name = self._parent(path)
        return self.nodes[number].entries.get(name)

    def _number(self, path: str, kind: Kind) -> int:
        found, number = self._entry(path) or (None, 0)
        if found is not kind or not isinstance(number, int):
            raise FileNotFoundError(errno.ENOENT, f"no {kind.value}", path)
        return number

    def _parent(self, path: str) -> tuple[int, str]:
        parent, _, name = path.rpartition("/")
        return self._folder(parent), name

    def _folder(self, path: str) -> int:
        return self._number(path, Kind.FOLDER) if path else ROOT

    # What a power cut leaves.

    def after_power_cut(self, rng: random.Random, samples: int) -> Iterator["SimDisk"]:
        """The disks that can be left, some of them more than once."""
        for survivors in self._choices(rng, samples):
            yield self._left(survivors)

    def digest(self, number: int = ROOT) -> int:
        """Tells disks apart by what is in them and what is still to be synced."""
        node = self.nodes[number]
        inner = [self._digest(node.names)]
        if node.changes:
            inner += [self._digest(dict(change)) for change in node.changes]
        return hash((node.data, node.writes, *inner))

    def _digest(self, entries: Mapping[str, Entry | None]) -> int:
        told = []
        for name, entry in sorted(entries.items()):
            what = entry[1] if entry else ""
            told.append((name, self.digest(what) if isinstance(what, int) else what))
        return hash(tuple(told))

    def _choices(self, rng: random.Random, samples: int) -> Iterator[Survivors]:
        writes = [(n, i) for n, node in self.nodes.items() for i in range(len(node.writes))]
        names = [(n, i) for n, node in self.nodes.items() for i in range(len(node.changes))]
        every = [*names, *writes]
        yield dict.fromkeys(every, 1.0)
        yield dict.fromkeys(every, 0.0)
        if not every:
            return
        yield dict.fromkeys(names, 1.0) | dict.fromkeys(writes, 0.0)
        yield dict.fromkeys(names, 1.0) | dict.fromkeys(writes, _ZEROS)
        yield dict.fromkeys(names, 0.0) | dict.fromkeys(writes, 1.0)
        for one in every:
            yield dict.fromkeys(every, 1.0) | {one: 0.0}
            yield dict.fromkeys(every, 0.0) | {one: 1.0}
        for one in writes:
            for torn in (0.02, 0.5, 0.98, _ZEROS):
                yield dict.fromkeys(every, 1.0) | {one: torn}
        for number, node in self.nodes.items():  # in the order in which a journal writes them
            for count in range(1, len(node.changes)):
                later = [(number, i) for i in range(count, len(node.changes))]
                yield dict.fromkeys(every, 1.0) | dict.fromkeys(later, 0.0)
        for _ in range(samples):
            odds = (0.0, 1.0, 1.0, rng.random(), _ZEROS)
            yield {one: rng.choice(odds if one in writes else (0.0, 1.0)) for one in every}

    def _left(self, survivors: Survivors) -> "SimDisk":
        nodes = dict(self.nodes)
        for number in {number for number, _ in survivors}:
            node = nodes[number]
            data = node.data
            for i, (offset, piece) in enumerate(node.writes):
                if kept := survivors[number, i]:
                    zeros = kept == _ZEROS
                    end = len(piece) if zeros else max(1, int(kept * len(piece)))
                    data = _laid(data, offset, bytes(end) if zeros else piece[:end])
            changes = [c for i, c in enumerate(node.changes) if survivors[number, i]]
            nodes[number] = Node(data, _changed(node.names, changes))
        return SimDisk(nodes, lost=self.lost)


_ZEROS = -1.0  # the length was written, the bytes were not


def _laid(data: bytes, offset: int, piece: bytes) -> bytes:
    if offset == len(data):
        return data + piece
    return data[:offset].ljust(offset, b"\0") + piece + data[offset + len(piece) :]


def _changed(names: dict[str, Entry], changes: Iterable[tuple[Change, ...]]) -> dict[str, Entry]:
    entries = dict(names)
    for change in changes:
        for name, entry in change:
            entries.pop(name, None)
            if entry is not None:
                entries[name] = entry
    return entries


def _site(path: str) -> str:
    """Which sync of the agent's code this is, and what of."""
    frame, found = sys._getframe(2), ""  # noqa: SLF001 - the way to see who calls
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.parent.name == "agent" and "tests" not in file.parts:
            found = f"{found} < " * bool(found) + f"{file.stem}.{frame.f_code.co_name}"
            if file.stem != "disk":  # its helpers serve several others
                break
        frame = frame.f_back
    return f"{found}: {re.sub('slots/[ab]', 'slots/x', path) or '.'}"
