"""Where a device is that is reached over ssh, as `--on` takes it."""

import re
import shlex
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from ..toolchain.errors import UsageError
from ..toolchain.version import __version__
from .agent_messages import printable

_ADDRESS = re.compile(
    r"ssh://(?:(?P<user>[a-z0-9_][\w.+-]*)@)?"
    r"(?P<host>[a-z0-9_][\w.-]*|\[[0-9a-f:.]+(?:%[\w.-]+)?\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?(?:\?python=(?P<python>[^&#]+))?",
    re.ASCII | re.IGNORECASE,
)
_HINT = (
    "write ssh://[user@]host[:port], and ?python=PATH after it where the python3 there is not the "
    "one; all else (keys, jumps, other names) belongs into ~/.ssh/config"
)
_PORTS = range(1, 1 << 16)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a device is.

    Attributes:
        host: Its name, one of ~/.ssh/config, or its IP address.
        user: Who logs in; None: whom ssh takes.
        port: The port; None: which ssh takes.
        python: The Python that has hwc, as a path on the device or a name on its PATH.
    """

    host: str
    user: str | None = None
    port: int | None = None
    python: str = "python3"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `ssh://[user@]host[:port][?python=PATH]`; an IPv6 address is in brackets.

        Raises:
            UsageError: It is none; an option of ssh posing as a host, for one.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise UsageError(f"{printable(text)!r} is not the address of a device", _HINT)
        port = int(found["port"]) if found["port"] else None
        if port is not None and port not in _PORTS:
            raise UsageError(f"{text}: there is no port {port}", _HINT)
        python = unquote(found["python"] or "python3")
        if python.startswith("-") or not python.isprintable():
            raise UsageError(f"{printable(text)!r} names no Python", _HINT)
        if python.startswith("~/"):
            python = f"./{python[2:]}"  # ssh starts in the home folder; a quoted ~ means nothing
        return cls(found["host"].strip("[]"), found["user"], port, python)

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ssh://{user}{host}" + (f":{self.port}" if self.port else "")

    @property
    def arguments(self) -> tuple[str, ...]:
        """What ssh is told, in an order in which nothing is taken for an option."""
        port = ("-p", str(self.port)) if self.port else ()
        user = ("-l", self.user) if self.user else ()
        return (*port, *user, "--", self.host)

    @property
    def by_hand(self) -> str:
        """The command that a person connects with."""
        port = f"-p {self.port} " if self.port else ""
        return f"ssh {port}{self.user}@{self.host}" if self.user else f"ssh {port}{self.host}"

    @property
    def install(self) -> str:
        """The line that puts onto the device what it needs: one small wheel and its runtime."""
        pip = f"{shlex.quote(self.python)} -m pip install"
        return f"{pip} --no-deps hwc-compiler=={__version__} && {pip} numpy onnxruntime"
