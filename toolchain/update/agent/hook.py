"""A health check that is a command of the device's owner: bounded in time and in what it says."""

import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from ...codec import parse
from ...errors import InputError
from .health import Check, Verdict

_CAP = 1 << 16  # bytes of output that are kept
_CHUNK = 1 << 12
_TAIL = 300  # characters of what a failed hook said last


@dataclass(frozen=True, slots=True)
class Answer:
    """What the command prints to its standard output, as JSON.

    `{"checks": [{"kind": "golden", "passed": true, "note": "cosine 0.9998"}]}`
    """

    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Hook:
    """Runs `command FOLDER`; the release passes if it exits with 0 and every check passed.

    Attributes:
        command: Program and arguments, run without a shell.
        limit: Seconds after which it is killed, with all that it started in its session.
    """

    command: tuple[str, ...]
    limit: float = 120.0

    def check(self, folder: Path) -> Verdict:
        """Run the command."""
        try:
            process = subprocess.Popen(  # noqa: S603 - the owner's command, and never a shell
                (*self.command, str(folder)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as cause:
            return Verdict(passed=False, note=f"the hook {self.command[0]}: {cause.strerror}")
        with process:
            try:
                answer = _listen(process, time.monotonic() + self.limit)
            finally:
                _kill(process)
        if answer is None:
            return Verdict(passed=False, note=f"the hook was killed after {self.limit:g} s")
        return _judge(process.returncode, *answer)


def _listen(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes] | None:
    """What it wrote to both streams until it ended; None where it did not by the deadline."""
    said, complaint = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, kept in ((process.stdout, said), (process.stderr, complaint)):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, kept)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            for key, _ in selector.select(left):
                data = os.read(key.fd, _CHUNK)
                key.data.extend(data[: _CAP - len(key.data)])
                if not data:
                    selector.unregister(key.fileobj)
    try:
        process.wait(max(deadline - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        return None
    return bytes(said), bytes(complaint)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the command's session: also what it left behind there when it ended itself."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _judge(code: int, said: bytes, complaint: bytes) -> Verdict:
    if code != 0:
        last = complaint.decode(errors="replace").strip()[-_TAIL:]
        return Verdict(passed=False, note=f"the hook ended with {code}: {last}")
    try:
        checks = parse(Answer, said).checks
    except InputError as cause:
        return Verdict(passed=False, note=f"the hook's answer: {cause.message}")
    passed = bool(checks) and all(check.passed for check in checks)
    return Verdict(passed, "" if checks else "the hook checked nothing", checks)
