"""hwc's agent on another machine, over the system's OpenSSH as the user has set it up."""

import contextlib
import io
import shlex
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import IO

from ..toolchain.errors import BackendError, DeviceError
from ..toolchain.version import __version__
from .agent_frames import Frame, read, write
from .agent_messages import PROTOCOL, REPLY_LIMITS, Hello, printable
from .ssh_address import Address
from .ssh_fault import explain

SSH = ("ssh",)
AGENT = "hwc.backends.ort_agent"
# No terminal, no questions, nothing of this machine lent to the other one, and a line that is cut
# noticed within a minute. How host keys are checked is the user's to say, and never relaxed here.
_OPTIONS = (
    *("-T", "-a", "-x", "-o", "BatchMode=yes", "-o", "LogLevel=INFO", "-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3", "-o", "RemoteCommand=none"),
    *("-o", "ClearAllForwardings=yes", "-o", "PermitLocalCommand=no"),
)
_NOISE = 1 << 16  # bytes that shells may say before the agent does
_SAID = 1 << 16  # bytes of what ssh and the agent complain about that are kept
_HELLO_S = 60.0  # an agent on a slow board has loaded its libraries by then
_END_S = 3.0  # how long ssh may take to end when it is asked to
_ACCEPTED = "Warning: Permanently added"  # what ssh says where the user's settings let it


class Connection:
    """One agent on a device, from its start to its end.

    Args:
        address: The device.
        ssh: The command that takes OpenSSH's arguments.

    Raises:
        DeviceError: There is no such command here.
    """

    def __init__(self, address: Address, ssh: Sequence[str] = SSH) -> None:
        self._address = address
        command = f"exec {shlex.quote(address.python)} -m {AGENT}"
        try:
            self._process = subprocess.Popen(  # noqa: S603 - ssh, with arguments that were checked
                [*ssh, *_OPTIONS, *address.arguments, command],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,  # Ctrl-C is for hwc alone to take, which then ends ssh
            )
        except OSError as cause:
            raise DeviceError(
                f"{address}: '{ssh[0]}' cannot be started: {cause.strerror}",
                "install OpenSSH's client on this machine",
            ) from cause
        self._requests = _pipe(self._process.stdin)
        self._replies = io.BufferedReader(_pipe(self._process.stdout))
        self._said = bytearray()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def hello(self) -> Hello:
        """Who answers; to be asked first.

        Raises:
            LostError: Nobody.
            BackendError: No agent, or one that speaks another protocol.
        """
        timer = threading.Timer(_HELLO_S, self._give_up)
        timer.start()
        try:
            with self._explained():
                hello = Hello.of(self._read(noise=_NOISE))
        finally:
            timer.cancel()
        if hello.protocol != PROTOCOL:
            raise BackendError(
                f"{self._address}: hwc {hello.hwc} there and {__version__} here speak different "
                f"protocols ({hello.protocol} and {PROTOCOL})",
                f"have the same on both: {self._address.install}",
            )
        return hello

    def send(self, frame: Frame) -> None:
        """Send a message.

        Raises:
            LostError: Nobody reads it.
        """
        with self._explained():
            write(self._requests, frame)

    def receive(self) -> Frame:
        """The next message.

        Raises:
            LostError: None comes.
            BackendError: What comes is none.
        """
        with self._explained():
            return self._read()

    @property
    def notes(self) -> tuple[str, ...]:
        """What ssh did that the user should know: it takes new host keys where it is told to."""
        lines = self._said.decode(errors="replace").splitlines()
        return tuple(printable(line) for line in lines if line.startswith(_ACCEPTED))

    def close(self) -> None:
        """Hang up: the agent ends, and with it ssh; one that does not is ended."""
        for stop in (self._requests.close, self._process.terminate, self._process.kill):
            stop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
                break
        self._replies.close()
        # A master that ssh left behind for other sessions (ControlPersist) may hold on to it.
        self._listener.join(_END_S)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the end of the stream, and what is no message, into errors that say why."""
        try:
            yield
        except ConnectionError as cause:
            self.close()
            said = self._said.decode(errors="replace")
            raise explain(self._address, self._process.returncode, said) from cause
        except ValueError as cause:
            self.close()
            raise BackendError(
                f"{self._address}: what answers there is not hwc's agent: {printable(str(cause))}",
                f"see what '{self._address.by_hand} true' prints: it should be nothing",
            ) from cause

    def _read(self, noise: int = 0) -> Frame:
        frame = read(self._replies, REPLY_LIMITS, noise=noise)
        if frame is None:
            raise ConnectionError("the stream ended")
        return frame

    def _listen(self) -> None:
        with _pipe(self._process.stderr) as errors:
            while chunk := errors.read(1 << 12):
                self._said += chunk
                del self._said[:-_SAID]

    def _give_up(self) -> None:
        self._said += b"\nno answer within a minute\n"
        self._process.terminate()


def _pipe(stream: IO[bytes] | None) -> io.FileIO:
    """One of the three pipes of a process, unbuffered."""
    assert isinstance(stream, io.FileIO)  # noqa: S101 - it was asked for
    return stream
