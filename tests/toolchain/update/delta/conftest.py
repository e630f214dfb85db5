"""Releases that are made of parts, updates between them, and what comes out on a device."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hwc.toolchain.update.delta.apply import apply
from hwc.toolchain.update.delta.file import UpdateFile
from hwc.toolchain.update.delta.files import Folder, PlainSink
from hwc.toolchain.update.delta.header import Strategy
from hwc.toolchain.update.delta.make import Options
from hwc.toolchain.update.delta.strategies import Made, make
from hwc.toolchain.update.release import Compatibility, Dtype, Release, ReleaseFile, Tensor

Part = bytes | tuple[str, Dtype, bytes] | tuple[str, Dtype, bytes, tuple[int, ...]]
Parts = Mapping[str, Sequence[Part]]


@dataclass(frozen=True, slots=True)
class Bench:
    """A folder in which releases and updates are made.

    Attributes:
        root: The folder.
    """

    root: Path

    def release(self, name: str, files: Parts, seq: int = 1) -> Path:
        """Write a release whose files are these parts, one behind the other; tensors are named."""
        folder = self.root / name
        listed = []
        for path, parts in sorted(files.items()):
            listed.append(written(folder, path, parts))
        release = Release("doorbell", f"1.{seq}", seq, 0, Compatibility(), None, {}, tuple(listed))
        folder.mkdir(exist_ok=True)
        (folder / "bundle.json").write_bytes(release.text())
        return folder

    def update(self, old: Path | None, new: Path, options: Options | None = None) -> Made:
        """Make the update from one to the other."""
        target = self.root / "update.hwcu"
        with Folder(new) as newer:
            if old is None:
                return make(newer, None, target, options)
            with Folder(old) as older:
                return make(newer, older, target, options)

    def applied(self, update: Path, base: Path | None) -> Path:
        """Apply an update into a new folder."""
        out = self.root / f"out{sum(1 for _ in self.root.iterdir())}"
        out.mkdir()
        with UpdateFile.open(update) as file:
            apply(file, Folder(base) if base is not None else None, PlainSink(out))
        return out

    @staticmethod
    def contents(folder: Path) -> dict[str, bytes]:
        """Every file below a folder."""
        files = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    def round_trip(self, old: Path, new: Path, strategy: Strategy = Strategy.HASH) -> Made:
        """Make and apply an update, and compare every file."""
        made = self.update(old, new, Options(strategy))
        assert self.contents(self.applied(made.path, old)) == self.contents(new)
        return made


def written(folder: Path, path: str, parts: Sequence[Part]) -> ReleaseFile:
    data, tensors = b"", []
    for part in parts:
        if not isinstance(part, bytes):
            name, dtype, content, *shaped = part
            digest = hashlib.sha256(content).hexdigest()
            shape = shaped[0] if shaped else (len(content) // dtype.size,)
            tensors.append(Tensor(name, dtype, shape, len(data), len(content), digest))
            part = content  # noqa: PLW2901 - a tensor's bytes are what the file holds
        data += part
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)
    return ReleaseFile(path, len(data), hashlib.sha256(data).hexdigest(), tuple(tensors))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="session")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Bench]:
    """As many benches as a property test has examples."""
    return lambda: Bench(tmp_path_factory.mktemp("bench"))
