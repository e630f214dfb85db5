"""The protocols that backends implement, and the small facts they hand back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .codec import LATER
from .device import DeviceProfile
from .dialect import Dialect

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]


class Runner(Protocol):
    """A loaded engine: arrays in by input name, arrays out by output name."""

    def __call__(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference."""
        ...


class Status(StrEnum):
    """How a check of a bundle ended."""

    PASSED = "passed"
    FAILED = "failed"
    OWED = "not checked here"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was, or could not be, checked about a deliverable."""

    name: str
    status: Status
    detail: str


@dataclass(frozen=True, slots=True)
class Engine:
    """What a build made.

    Attributes:
        files: Paths relative to the bundle's folder.
        runtime: Name and version of the runtime that made it.
        target: What it runs on (an SM, a SoC version, an instruction set).
        options: How the runtime opens it, in the backend's own words: what differs from the
            runtime's defaults. None: as the backend opens an engine by itself.
    """

    files: tuple[str, ...]
    runtime: str
    target: str
    options: Mapping[str, str] | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True)
class KernelTime:
    """The in-place time of one kernel of a running engine.

    Attributes:
        name: The runtime's name of the kernel.
        op: The runtime's op type.
        tensors: Names of the tensors it writes, as the runtime's own graph has them.
        us: One duration a run, in microseconds; shape (runs,).
    """

    name: str
    op: str
    tensors: tuple[str, ...]
    us: npt.NDArray[np.float64]

    @classmethod
    def of(cls, node: ir.Node, us: npt.NDArray[np.float64]) -> Self:
        """The kernel that runs a node of the runtime's own graph."""
        name = str(node.name)
        tensors = [str(out.name) for out in node.outputs if out.name]
        # ONNX Runtime names a convolution in blocked layout after the tensor that it wrote before.
        blocked = name.removesuffix("_nchwc")
        return cls(name, node.op_type, (*tensors, *([blocked] if blocked != name else [])), us)


@dataclass(frozen=True, slots=True)
class TimedBuild:
    """One build of a graph, measured.

    Attributes:
        kernels: Every kernel, timed in place; the profiler's own cost is in these times.
        graph: The graph that really ran; its nodes bear the kernels' names.
        total_us: CPU time of one run without the profiler, in microseconds; shape (runs,).
        wall_us: Wall time of the same runs, in microseconds; None where it was not recorded.
    """

    kernels: tuple[KernelTime, ...]
    graph: ir.Graph
    total_us: npt.NDArray[np.float64]
    wall_us: npt.NDArray[np.float64] | None = None


TimeBuilds = Callable[[Sequence[ir.Model]], list[TimedBuild]]


class Backend(Protocol):
    """A runtime that graphs are built for."""

    name: str

    def dialect(self, profile: DeviceProfile) -> Dialect:
        """How graphs for this device must be written."""
        ...

    def runs_here(self, profile: DeviceProfile) -> bool:
        """Whether this machine can build, load and time engines for the device."""
        ...

    def version(self) -> str | None:
        """The runtime's version, or None where it is not installed."""
        ...

    def check(self, model: Path, profile: DeviceProfile) -> tuple[Check, ...]:
        """Check a deploy graph as far as this machine can; what cannot be checked is OWED."""
        ...

    def stage(self, model: Path, profile: DeviceProfile, samples: Iterable[Feeds]) -> None:
        """Write what a build needs beside the deploy graph `model`, such as calibration samples."""
        ...

    def build(self, model: Path, profile: DeviceProfile, folder: Path) -> Engine:
        """Build the engine of the deploy graph `model` into `folder` (the bundle's).

        Raises:
            BackendError: The runtime is missing or refused the graph.
        """
        ...

    def load(self, folder: Path, engine: Engine, threads: int = 0) -> Runner:
        """Load a built engine; `threads` 0 means all cores."""
        ...

    def build_commands(self, model: Path, profile: DeviceProfile) -> tuple[str, ...]:
        """The shell commands that build the deploy graph `model` on the device, in its folder."""
        ...
