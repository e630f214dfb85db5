"""Stage 0: the device, its backend, and whether it is at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from ...toolchain.device import DeviceProfile, resolve
from ...toolchain.dialect import Dialect
from ...toolchain.engine import Backend, Feeds, TimedBuild
from ..backends import open_backend
from ..request import Request


class Runtime(Protocol):
    """A runtime that shows its kernels one by one, on the device that is compiled for."""

    @property
    def version(self) -> str:
        """Its version."""
        ...

    def time_builds(
        self, models: Sequence[ir.Model], feeds: Feeds, *, runs: int, threads: int
    ) -> list[TimedBuild]:
        """Time several graphs in place, kernel by kernel, in turns."""
        ...

    def running_graph(self, model: ir.Model, feeds: Feeds) -> ir.Graph:
        """The graph that it makes of a model."""
        ...


class OrtHere:
    """ONNX Runtime on this machine's CPU."""

    backend = "ort"

    def __init__(self) -> None:
        from ...backends import ort  # noqa: PLC0415 - only where it is what the target needs

        self._ort = ort

    @property
    def version(self) -> str:
        """The installed onnxruntime."""
        return str(self._ort.Ort().version())

    def time_builds(
        self, models: Sequence[ir.Model], feeds: Feeds, *, runs: int, threads: int
    ) -> list[TimedBuild]:
        """Time several graphs here."""
        return self._ort.time_builds(models, feeds, runs=runs, threads=threads)

    def running_graph(self, model: ir.Model, feeds: Feeds) -> ir.Graph:
        """The graph that runs here."""
        del feeds
        return self._ort.running_graph(model)


@dataclass(frozen=True, slots=True)
class Target:
    """What is compiled for.

    Attributes:
        profile: The device, in its power mode.
        backend: The backend that serves it.
        dialect: How its graphs are written.
        here: Whether this machine can run and time its engines.
        runtime: What times its kernels one by one; None where nothing here can.
        notes: What the user should know, such as what a short name stands for.
    """

    profile: DeviceProfile
    backend: Backend
    dialect: Dialect
    here: bool
    runtime: Runtime | None
    notes: tuple[str, ...]


def find_target(request: Request) -> Target:
    """Resolve the device and open its backend.

    Raises:
        DeviceError: No such device, profile or power mode.
        BackendError: The backend needs a module that is not installed.
    """
    resolved = resolve(request.device)
    profile = resolved.profile
    if request.power_mode:
        profile = profile.in_mode(request.power_mode)
    backend = open_backend(profile.backend)
    here = backend.runs_here(profile)
    return Target(
        profile,
        backend,
        backend.dialect(profile),
        here=here,
        runtime=OrtHere() if here and backend.name == OrtHere.backend else None,
        notes=(resolved.note,) if resolved.note else (),
    )
