"""Bytes of an update between two versions of a model, beside what others make of the same files.

Run `python tests/bench/update_sizes.py` (an hour the first time: bsdiff and others take most of
it, training and compiling some minutes; all of these are remembered). A release is the files of a
model, or of a bundle of `hwc compile`, and its signed `bundle.json`; the others get all of them,
one behind the other, and do without the header and digests of an update file. Every update is
applied, and each file compared byte by byte.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from hwc.toolchain.update.content.describe import describe, walk, write_release
from hwc.toolchain.update.delta.apply import apply
from hwc.toolchain.update.delta.file import UpdateFile
from hwc.toolchain.update.delta.files import Folder, PlainSink
from hwc.toolchain.update.delta.strategies import Made, make
from hwc.toolchain.update.release import RELEASE, Compatibility
from support.devkit import SkipError
from support.tables import markdown, say
from support.update_pairs import Files, Pair, pairs
from support.update_peers import Remembered, peers

WORK = Path("build/bench/updates")
_ALLOWED = 1024  # bytes over the best that anything else makes


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one pair.

    Attributes:
        name: Of the pair.
        raw: Bytes of the new file.
        ours: Bytes of the update.
        strategy: What `auto` chose.
        full: Bytes of the update that needs no base.
        limit: Bytes that no delta can do without, where that is known.
        others: Bytes of each peer; None where it was not asked.
        make: CPU seconds for each MB to make ours.
        apply: MB a second to apply it.
        note: What was measured of the new version.
    """

    name: str
    raw: int
    ours: int
    strategy: str
    full: int
    limit: float | None
    others: Mapping[str, int | None]
    make: float
    apply: float
    note: str

    @property
    def best(self) -> int:
        """Bytes of the best peer."""
        return min(size for size in self.others.values() if size is not None)

    @property
    def over(self) -> int:
        """Bytes over the smaller of the best peer and the full update; it should be below 1 KB."""
        return self.ours - min(self.full, self.best)


def main() -> None:
    """Print the table; with `--out`, write the figures too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--work", type=Path, default=WORK, help="what training makes [%(default)s]")
    parser.add_argument("--without", nargs="*", default=(), help="peers to leave out")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    others = Remembered(
        {name: peer for name, peer in peers().items() if name not in asked.without},
        asked.work / "peers.json",
    )
    rows = []
    try:
        for pair in pairs(asked.work):
            if isinstance(pair, str):
                say(pair)
                continue
            rows.append(measured(pair, others))
            say(f"{pair.name}: {rows[-1].ours} B, best peer {rows[-1].best} B. {pair.note}")
            if asked.out:
                asked.out.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    head = ["pair", "MB", "hwc", "by", "full", "limit", *others.peers, "over", "s/MB", "MB/s"]
    say(markdown(head, cells(rows)))
    say(verdict(rows))


def measured(pair: Pair, others: Remembered) -> Row:
    """Make and apply the update of a pair, and let the others try."""
    size = sum(map(len, pair.new.values()))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        old, new = release(root / "old", pair.old, 1), release(root / "new", pair.new, 2)
        begin = time.process_time()
        made = made_update(old, new, root / "u.hwcu")
        took = time.process_time() - begin
        with Folder(new) as newer:
            full = make(newer, None, root / "full.hwcu").size
        begin = time.perf_counter()
        applied(made, old, root / "out")
        rate = size / 1e6 / (time.perf_counter() - begin)
        for path, data in pair.new.items():
            if (root / "out" / path).read_bytes() != data:
                raise SystemExit(f"{pair.name}: {path} came out otherwise")
        both = [joined(folder) for folder in (old, new)]
    return Row(
        name=pair.name,
        raw=size,
        ours=made.size,
        strategy=made.strategy.value,
        full=full,
        limit=pair.limit,
        others=others.sizes(*both),
        make=took / (size / 1e6),
        apply=rate,
        note=pair.note,
    )


def release(folder: Path, files: Files, seq: int) -> Path:
    """A release of these files."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    described = describe(
        folder,
        product="bench",
        version=str(seq),
        seq=seq,
        sec_epoch=0,
        compatibility=Compatibility(),
        golden=None,
        provenance={},
    )
    write_release(folder, described)
    return folder


def joined(folder: Path) -> bytes:
    """All files of a release, `bundle.json` last, as those get them who know of one file only."""
    paths = sorted(walk(folder), key=lambda path: (path == RELEASE, path))
    return b"".join((folder / path).read_bytes() for path in paths)


def made_update(old: Path, new: Path, target: Path) -> Made:
    """The update that `auto` makes."""
    with Folder(old) as older, Folder(new) as newer:
        return make(newer, older, target)


def applied(made: Made, old: Path, out: Path) -> None:
    """Apply it as a device does."""
    out.mkdir()
    with UpdateFile.open(made.path) as update:
        apply(update, Folder(old), PlainSink(out))


def cells(rows: list[Row]) -> list[list[str]]:
    """The rows of the table."""
    return [
        [
            row.name,
            f"{row.raw / 1e6:.2f}",
            f"{row.ours}",
            row.strategy,
            f"{row.full}",
            "-" if row.limit is None else f"{row.ours / row.limit:.3f}x",
            *("-" if size is None else f"{size}" for size in row.others.values()),
            f"{row.over:+}",
            f"{row.make:.3f}",
            f"{row.apply:.0f}",
        ]
        for row in rows
    ]


def verdict(rows: list[Row]) -> str:
    """How many pairs keep the promise, and by how much the others miss it."""
    missed = [row for row in rows if row.over > _ALLOWED]
    kept = f"{len(rows) - len(missed)} of {len(rows)} pairs"
    lines = [
        f"{kept} take at most {_ALLOWED} B more than the smaller of full and the best peer",
        *(f"missed by {row.over - _ALLOWED} B: {row.name}" for row in missed),
        *(f"{row.name}: {row.note}" for row in rows if row.note),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
