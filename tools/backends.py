"""Where the backends are: named in a table, imported when one is asked for."""

from importlib import import_module

from ..toolchain.engine import Backend
from ..toolchain.errors import BackendError

BACKENDS = {
    "ort": "..backends.ort:Ort",
    "trt": "..backends.trt:TensorRT",
    "ascend": "..backends.ascend:Ascend",
    "dcu": "..backends.dcu:Dcu",
}


def open_backend(name: str) -> Backend:
    """The backend of that name.

    Raises:
        BackendError: There is none, or a module that it needs is not installed.
    """
    if name not in BACKENDS:
        raise BackendError(f"no backend {name!r}", f"there are {', '.join(BACKENDS)}")
    module, kind = BACKENDS[name].split(":")
    try:
        backend: Backend = getattr(import_module(module, __package__), kind)()
    except ModuleNotFoundError as cause:
        raise BackendError(
            f"backend {name!r} needs the module {cause.name!r}", "install it for this Python"
        ) from cause
    return backend
