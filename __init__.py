"""hwc: a hardware-aware deployment compiler; the public API, imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .toolchain.version import __version__

if TYPE_CHECKING:
    from .toolchain.bundle import Bundle as Bundle
    from .toolchain.device import load_profile as load_profile
    from .toolchain.plan import Plan as Plan
    from .tools.compiling import compile_model as compile_model
    from .tools.request import Request as Request

_WHERE = {
    "Bundle": ".toolchain.bundle",
    "Plan": ".toolchain.plan",
    "Request": ".tools.request",
    "compile_model": ".tools.compiling",
    "load_profile": ".toolchain.device",
}

__all__ = ["Bundle", "Plan", "Request", "__version__", "compile_model", "load_profile"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the public names have different types
    """Import a public name from its module, so that `hwc --help` loads nothing heavy."""
    if name not in _WHERE:
        raise AttributeError(f"module 'hwc' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name], __name__), name)
