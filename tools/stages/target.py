"""Stage 0: the device, its backend, and whether it is at hand."""

from dataclasses import dataclass

from ...toolchain.device import DeviceProfile, resolve
from ...toolchain.dialect import Dialect
from ...toolchain.engine import Backend
from ..backends import open_backend
from ..request import Request


@dataclass(frozen=True, slots=True)
class Target:
    """What is compiled for.

    Attributes:
        profile: The device, in its power mode.
        backend: The backend that serves it.
        dialect: How its graphs are written.
        here: Whether this machine can run and time its engines.
        notes: What the user should know, such as what a short name stands for.
    """

    profile: DeviceProfile
    backend: Backend
    dialect: Dialect
    here: bool
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
    notes = (resolved.note,) if resolved.note else ()
    return Target(profile, backend, backend.dialect(profile), backend.runs_here(profile), notes)
