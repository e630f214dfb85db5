"""A real sshd on this machine's loopback, for one user and the time of a test run."""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hwc.backends.ssh_address import Address

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
PRIVILEGE_SEPARATION = Path("/run/sshd")  # sshd that runs as root refuses to start without it
SERVER = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/pid
SetEnv TMPDIR={folder}/device ORT_DISABLE_TELEMETRY=1 PYTHONDONTWRITEBYTECODE=1
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
"""
CLIENT = """
Host device
  HostName 127.0.0.1
  Port {port}
Host *
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  IdentityAgent none
"""


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running server.

    Attributes:
        folder: Its keys and settings, and the client's.
        port: Where it listens.
        process: The server itself.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def ssh(self) -> tuple[str, ...]:
        """The ssh of a user who has these keys, and knows this server."""
        return ("ssh", "-F", str(self.folder / "client"))

    @property
    def device(self) -> Path:
        """Where temporary files of the device lie."""
        return self.folder / "device"

    def address(self, python: str = sys.executable) -> Address:
        """The device, with a Python on it."""
        return Address("127.0.0.1", getpass.getuser(), self.port, python)

    def user(self, name: str, *lines: str) -> tuple[str, ...]:
        """The ssh of a user whose settings begin with these lines."""
        path = self.folder / f"client.{name}"
        settings = CLIENT.format(folder=self.folder, port=self.port)
        path.write_text("\n".join(lines) + "\n" + settings)
        return ("ssh", "-F", str(path))

    def key(self, name: str, command: str = "") -> Path:
        """A new key of the user, which the server takes for nothing but a command, if for that."""
        path = new_key(self.folder / name)
        if command:
            public = path.with_suffix(".pub").read_text()
            with (self.folder / "authorized_keys").open("a") as keys:
                keys.write(f'command="{command}" {public}')
        return path

    def cut(self) -> int:
        """End every session that is open; how many there were."""
        sessions = [pid for pid in descendants(self.process.pid) if is_sshd(pid)]
        for pid in sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(sessions)

    def left_behind(self, within: float = 10.0) -> list[str]:
        """What lies in the device's temporary folder once its agents have ended."""
        until = time.monotonic() + within
        while (left := self.temporary()) and time.monotonic() < until:
            time.sleep(0.02)
        return left

    def temporary(self) -> list[str]:
        """What lies in the device's temporary folder."""
        return [path.name for path in self.device.iterdir()]


def new_key(path: Path) -> Path:
    """A key pair without a passphrase."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def descendants(root: int) -> list[int]:
    """The processes that a process started, and those that these started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, waiting = [], [root]
    while waiting:
        mine = children.get(waiting.pop(), [])
        found += mine
        waiting += mine
    return found


def is_sshd(pid: int) -> bool:
    """Whether a process belongs to a server, and not to what it runs."""
    try:
        return (Path("/proc") / str(pid) / "comm").read_text().startswith("sshd")
    except OSError:
        return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """A server that lets this user in, with a client that knows it."""
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("a device over ssh needs OpenSSH's server and client on this machine")
    if os.geteuid() == 0:
        PRIVILEGE_SEPARATION.mkdir(exist_ok=True)  # it stays: a parallel run may need it
    folder, port = tmp_path_factory.mktemp("sshd"), free_port()
    (folder / "device").mkdir()
    host_key, user_key = new_key(folder / "host_key"), new_key(folder / "user_key")
    shutil.copy(user_key.with_suffix(".pub"), folder / "authorized_keys")
    public = host_key.with_suffix(".pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
    (folder / "server").write_text(SERVER.format(folder=folder, port=port))
    (folder / "client").write_text(CLIENT.format(folder=folder, port=port))
    command = [SSHD, "-D", "-e", "-f", str(folder / "server")]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        server = Sshd(folder, port, process)
        try:
            until_it_answers(server)
            yield server
        finally:
            server.cut()
            process.terminate()


def until_it_answers(server: Sshd) -> None:
    """Wait for the first login; skip where this user cannot log in (a locked account, say)."""
    command = [*server.ssh, "-o", "BatchMode=yes", "device", "true"]
    for _ in range(50):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        if "refused" not in done.stderr or server.process.poll() is not None:
            break
        time.sleep(0.1)
    log = (server.folder / "log").read_text()
    pytest.skip(f"sshd does not let this user in: {done.stderr} {log}")
