"""Why a connection to a device ended, read off what ssh says, and what to do about it."""

import re
from dataclasses import dataclass

from ..toolchain.errors import BackendError, DeviceError, HwcError
from .agent_messages import printable
from .ssh_address import Address

_SSH_FAILED = 255
_NO_COMMAND = (126, 127)  # what shells say of a command that is not there, or is none


class LostError(Exception):
    """A connection ended.

    Attributes:
        error: What the user is told.
        passing: Whether the next try may do better.
    """

    def __init__(self, error: HwcError, *, passing: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.passing = passing


@dataclass(frozen=True, slots=True)
class _Known:
    """A way in which ssh fails.

    Attributes:
        pattern: What OpenSSH says then.
        what: What that means, of a device.
        hint: What to do; `{ssh}` is the command to connect by hand.
        passing: Whether the next try may do better.
    """

    pattern: str
    what: str
    hint: str
    passing: bool = False


_KNOWN = (
    _Known(
        r"IDENTIFICATION HAS CHANGED|host key .*has changed|REVOKED HOST KEY",
        "its host key is not the one that known_hosts has",
        "somebody may be listening in; if the device was set up anew, compare the fingerprint, "
        "take the old key out with ssh-keygen -R, and connect once with '{ssh}'",
    ),
    _Known(
        r"Host key verification failed|No \S+ host key is known",
        "its host key is not known here",
        "connect once with '{ssh}', and compare the fingerprint that it shows",
    ),
    _Known(
        r"Permission denied|Too many authentication failures|no more authentication methods",
        "it refuses this user's keys",
        "'{ssh}' must log in without a question: put the public key into authorized_keys there, "
        "and a key with a passphrase into ssh-agent",
    ),
    _Known(
        r"Could not resolve hostname",
        "there is no host of that name",
        "check the name, and that this machine is in the network",
        passing=True,
    ),
    _Known(
        r"Connection refused",
        "it refuses connections",
        "check the port, and that sshd runs there",
        passing=True,
    ),
    _Known(
        r"timed out|No route to host|Network is unreachable|Host is down",
        "it cannot be reached",
        "check that it is on, and in this network",
        passing=True,
    ),
)


def explain(address: Address, code: int, complaints: str) -> LostError:
    """Why a connection ended.

    Args:
        address: The device.
        code: Exit code of ssh: its own, or that of the command there.
        complaints: What ssh and the command wrote to standard error.
    """
    lines = [shown for line in complaints.splitlines() if (shown := printable(line))]
    last = lines[-1] if lines else "nothing was said"
    if code in (0, _SSH_FAILED) or code < 0:
        return _of_ssh(address, complaints, last)
    return LostError(_of_command(address, code, complaints, last), passing=False)


def _of_ssh(address: Address, complaints: str, last: str) -> LostError:
    """The connection failed."""
    for known in _KNOWN:
        if re.search(known.pattern, complaints, re.IGNORECASE):
            hint = known.hint.format(ssh=address.by_hand)
            error = DeviceError(f"{address}: {known.what}", hint)
            return LostError(error, passing=known.passing)
    hint = f"see whether '{address.by_hand}' works, and whether the memory there suffices"
    error = DeviceError(f"{address}: the connection was lost ({last})", hint)
    return LostError(error, passing=True)


def _of_command(address: Address, code: int, complaints: str, last: str) -> HwcError:
    """The connection is good, and the agent failed."""
    missing = re.search(r"No module named '?([A-Za-z]\w*)", complaints)
    if missing:
        what = f"{address}: {address.python} there has no {missing[1]}"
        return BackendError(what, f"on the device: {address.install}")
    if code in _NO_COMMAND:
        hint = "install Python 3.11 or newer there, or name one with ?python=PATH"
        return BackendError(f"{address}: there is no {address.python} there", hint)
    hint = f"try it by hand: {address.by_hand} {address.python} -m hwc.backends.ort_agent"
    return BackendError(f"{address}: the agent failed with exit code {code} ({last})", hint)
