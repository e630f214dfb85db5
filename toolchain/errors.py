"""Every error that hwc shows a user: what went wrong, where, and what to do about it."""

from typing import ClassVar


class HwcError(Exception):
    """The root: one line of message, one of advice, and the exit code of the command.

    Args:
        message: What is wrong and where (file, node, key), without a final full stop.
        hint: What the user can do about it; may be empty.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}: {self.hint}" if self.hint else self.message


class UsageError(HwcError):
    """The command line asks for something that does not exist or does not go together."""

    exit_code = 2


class InputError(HwcError):
    """A model, data set or script that was handed in cannot be used."""

    exit_code = 3


class DeviceError(HwcError):
    """No such device, or its profile is not valid."""

    exit_code = 4


class BackendError(HwcError):
    """A runtime is missing, or it refused the graph."""

    exit_code = 5


class ConstraintError(HwcError):
    """No plan meets the constraints; the message names the nearest one."""

    exit_code = 6


class OutputError(HwcError):
    """The result cannot be written: the path is taken, not writable, or the disk is full."""

    exit_code = 7


class IntegrityError(HwcError):
    """A bundle does not hold what its manifest says."""

    exit_code = 8


class StaleError(HwcError):
    """A latency table no longer says what this machine does."""

    exit_code = 9
