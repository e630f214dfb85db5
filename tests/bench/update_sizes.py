"""Bytes of an update between two versions of a model, beside what others make of the same files.

Run `python tests/bench/update_sizes.py` (minutes; bsdiff takes most of them). A release is a model
and its signed `bundle.json`; the others get both, one behind the other, and do without the header
and digests of an update file.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from hwc.toolchain.update.content.describe import describe, write_release
from hwc.toolchain.update.delta.apply import apply
from hwc.toolchain.update.delta.file import UpdateFile
from hwc.toolchain.update.delta.files import Folder, PlainSink
from hwc.toolchain.update.delta.strategies import Made, make
from hwc.toolchain.update.release import Compatibility
from support.devkit import SkipError
from support.tables import markdown, say
from support.update_pairs import Pair, pairs
from support.update_peers import Peer, peers


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one pair.

    Attributes:
        name: Of the pair.
        raw: Bytes of the new file.
        ours: Bytes of the update.
        strategy: What `auto` chose.
        limit: Bytes that no delta can do without, where that is known.
        others: Bytes of each peer.
        make: CPU seconds for each MB to make ours.
        apply: MB a second to apply it.
    """

    name: str
    raw: int
    ours: int
    strategy: str
    limit: float | None
    others: Mapping[str, int]
    make: float
    apply: float


def main() -> None:
    """Print the table; with `--out`, write the figures too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--without", nargs="*", default=(), help="peers to leave out")
    asked = parser.parse_args()
    others = {name: peer for name, peer in peers().items() if name not in asked.without}
    try:
        rows = []
        for pair in pairs():
            rows.append(measured(pair, others))
            say(f"{pair.name}: {rows[-1].ours} B")
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    say(markdown(["pair", "MB", "hwc", "by", "limit", *others, "s/MB", "MB/s"], cells(rows)))
    if asked.out:
        asked.out.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def measured(pair: Pair, others: Mapping[str, Peer]) -> Row:
    """Make and apply the update of a pair, and let the others try."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        old, new = release(root / "old", pair.old, 1), release(root / "new", pair.new, 2)
        begin = time.process_time()
        made = made_update(old, new, root / "u.hwcu")
        took = time.process_time() - begin
        begin = time.perf_counter()
        applied(made, old, root / "out")
        rate = len(pair.new) / 1e6 / (time.perf_counter() - begin)
        if (root / "out" / "model.onnx").read_bytes() != pair.new:
            raise SystemExit(f"{pair.name}: came out otherwise")
        both = [(folder / "model.onnx").read_bytes() + text(folder) for folder in (old, new)]
    sizes = {name: peer(*both) for name, peer in others.items()}
    cost = took / (len(pair.new) / 1e6)
    strategy = made.strategy.value
    return Row(pair.name, len(pair.new), made.size, strategy, pair.limit, sizes, cost, rate)


def release(folder: Path, model: bytes, seq: int) -> Path:
    """A release of one file."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(model)
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


def text(folder: Path) -> bytes:
    """The release's `bundle.json`."""
    return (folder / "bundle.json").read_bytes()


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
            "-" if row.limit is None else f"{row.ours / row.limit:.3f}x",
            *(f"{size}" for size in row.others.values()),
            f"{row.make:.3f}",
            f"{row.apply:.0f}",
        ]
        for row in rows
    ]


if __name__ == "__main__":
    main()
