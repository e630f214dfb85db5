"""A real disk of which one call, or each from one on, goes wrong."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from hwc.toolchain.update.agent.disk import Kind
from hwc.toolchain.update.agent.real_disk import RealDisk, RealFile

Fault = Callable[[int, str], None]  # given the number of the call and its name; may not return


@dataclass(slots=True)
class FaultyFile:
    """A file of a faulty disk; a write that goes wrong is half done."""

    disk: "FaultyDisk"
    file: RealFile

    def write(self, data: bytes) -> None:
        """Append one half, then the other."""
        self.disk.step("write")
        self.file.write(data[: len(data) // 2])
        self.disk.step("write")
        self.file.write(data[len(data) // 2 :])

    def sync(self) -> None:
        """Make the file last."""
        self.disk.step("sync")
        self.file.sync()

    @property
    def size(self) -> int:
        """Bytes now."""
        return self.file.size

    def read(self, offset: int, size: int) -> bytes:
        """Some bytes."""
        self.disk.step("read")
        return self.file.read(offset, size)

    def close(self) -> None:
        """Close the file."""
        self.file.close()


@dataclass(slots=True)
class FaultyDisk:
    """A Disk that calls `fault` before each of its calls."""

    real: RealDisk
    fault: Fault
    calls: int = 0

    def step(self, name: str) -> None:
        """Count a call."""
        self.calls += 1
        self.fault(self.calls - 1, name)

    def lock(self) -> AbstractContextManager[None]:
        """Nothing goes wrong with this."""
        return self.real.lock()

    def free(self) -> int:
        """Ask."""
        return self.real.free()

    def kind(self, path: str) -> Kind | None:
        """Look."""
        self.step("kind")
        return self.real.kind(path)

    def list(self, path: str) -> tuple[str, ...]:
        """List."""
        self.step("list")
        return self.real.list(path)

    def open(self, path: str) -> FaultyFile:
        """Open."""
        self.step("open")
        return FaultyFile(self, self.real.open(path))

    def target(self, path: str) -> str:
        """Read a link."""
        self.step("target")
        return self.real.target(path)

    def create(self, path: str) -> FaultyFile:
        """Make a file."""
        self.step("create")
        return FaultyFile(self, self.real.create(path))

    def append(self, path: str) -> FaultyFile:
        """Open a file to write behind its end."""
        self.step("append")
        return FaultyFile(self, self.real.append(path))

    def mkdir(self, path: str) -> None:
        """Make a folder."""
        self.step("mkdir")
        self.real.mkdir(path)

    def link(self, path: str, target: str) -> None:
        """Make a link."""
        self.step("link")
        self.real.link(path, target)

    def rename(self, path: str, to: str) -> None:
        """Rename."""
        self.step("rename")
        self.real.rename(path, to)

    def unlink(self, path: str) -> None:
        """Remove."""
        self.step("unlink")
        self.real.unlink(path)

    def rmdir(self, path: str) -> None:
        """Remove a folder."""
        self.step("rmdir")
        self.real.rmdir(path)

    def sync(self, path: str) -> None:
        """Make names last."""
        self.step("sync")
        self.real.sync(path)
