"""What this device is, to be compared with what a release asks for."""

import platform
import re
from dataclasses import dataclass, field
from pathlib import Path

from ..refusal import Code, Refusal
from ..release import Compatibility

_MEMORY = Path("/proc/meminfo")
_KIB = 1 << 10


@dataclass(frozen=True, slots=True)
class Machine:
    """The device; an empty text is something its owner did not tell the agent.

    Attributes:
        arch: Of the processor.
        accelerator: Its name, `orin`.
        sm: CUDA compute capability, `8.7`.
        runtime: What runs models, `onnxruntime`.
        runtime_version: Its version.
    """

    arch: str = field(default_factory=platform.machine)
    accelerator: str = ""
    sm: str = ""
    runtime: str = ""
    runtime_version: str = ""

    def check(self, wanted: Compatibility, memory: int | None) -> None:
        """Compare with what a release asks for.

        Args:
            wanted: What it asks for.
            memory: Bytes that are free; None where that is not known.

        Raises:
            Refusal: This is another machine, or has too little memory.
        """
        for name in ("arch", "accelerator", "sm", "runtime"):
            asked, found = getattr(wanted, name), getattr(self, name)
            if asked and asked != found:
                raise _other(f"the release is for {name} {asked}, this is {found or 'not told'}")
        version = _version(self.runtime_version)
        if wanted.runtime_min and version < _version(wanted.runtime_min):
            raise _other(f"the release needs {self._runtime}, {wanted.runtime_min} or later")
        if wanted.runtime_max and version >= _version(wanted.runtime_max):
            raise _other(f"the release needs {self._runtime}, before {wanted.runtime_max}")
        if memory is not None and memory < wanted.memory:
            message = f"the release needs {wanted.memory} B of memory, {memory} B are free"
            raise Refusal(Code.MEMORY, message, "end other programs, or offer a smaller release")

    @property
    def _runtime(self) -> str:
        return f"another runtime than {self.runtime or 'this'} {self.runtime_version or 'not told'}"


def free_memory() -> int | None:
    """Bytes that programs can still have; None where the system does not say."""
    try:
        text = _MEMORY.read_text()
    except OSError:
        return None
    found = re.search(r"^MemAvailable: +(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * _KIB if found else None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0]))


def _other(message: str) -> Refusal:
    hint = "publish a release for this device, or tell the agent what the device is"
    return Refusal(Code.COMPATIBILITY, message, hint)
