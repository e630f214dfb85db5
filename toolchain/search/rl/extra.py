"""The extra [rl]: a clear word where it is not installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import UsageError

_LIBRARIES = ("gymnasium", "sb3_contrib", "stable_baselines3", "torch")


@contextmanager
def needs_rl(name: str) -> Iterator[None]:
    """Within it a strategy imports what learns.

    Args:
        name: The strategy's.

    Raises:
        UsageError: A library of the extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as cause:
        if (cause.name or "").partition(".")[0] not in _LIBRARIES:
            raise
        raise UsageError(
            f"the strategy {name!r} learns with {cause.name}, which is not installed",
            "pip install 'hwc-compiler[rl]'",
        ) from cause
