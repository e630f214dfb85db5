"""What the commands on a device have in common: its folder, and what it was told there."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import click

from ...toolchain.codec import canonical, parse
from ...toolchain.errors import HwcError
from ...toolchain.progress import Progress, Silent
from ...toolchain.update.agent.agent import Agent
from ...toolchain.update.agent.health import Health, Unchecked
from ...toolchain.update.agent.hook import Hook
from ...toolchain.update.agent.machine import Machine
from ...toolchain.update.agent.real_disk import RealDisk
from ...toolchain.update.refusal import Code, Refusal
from ...toolchain.update.trust import store
from ...toolchain.update.trust.roles import check_product

SETTINGS = "agent.json"
ROOT = "root.json"
METADATA = "metadata"
AUTO = "auto"  # the health check that comes with hwc
NONE = "none"
RUNTIMES = ("tensorrt", "onnxruntime")  # by the names that releases ask for

root_dir = click.option(
    "--root-dir",
    "root",
    required=True,
    type=click.Path(path_type=Path),
    help="The agent's folder on this device.",
)


class Lines:
    """Stages as lines on stderr: a device has no library that draws bars."""

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Callable[[], None]]:
        """Count the steps in place, on a terminal."""
        live, done = sys.stderr.isatty(), 0

        def step() -> None:
            nonlocal done
            done += 1
            if live and total:
                click.echo(f"\r{name}: {100 * done // total} %", nl=False, err=True)

        yield step
        click.echo(f"{chr(13) if live else ''}{name}: done" + 6 * " " * live, err=True)

    def remark(self, text: str) -> None:
        """Say nothing: there is no room."""

    def note(self, text: str) -> None:
        """Print a line."""
        click.echo(text, err=True)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a device was told when it was set up.

    Attributes:
        product: What it runs.
        repo: Address or folder of the repository.
        device: Its name in the fleet.
        health: A command that tries a release, `auto` or `none`.
        limit: Seconds that it may take.
        machine: What the device is.
    """

    product: str
    repo: str
    device: str = ""
    health: str = AUTO
    limit: float = 120.0
    machine: Machine = field(default_factory=Machine)


def installed_runtime() -> tuple[str, str]:
    """The runtime that is installed here, and its version; empty where there is none."""
    for brand in RUNTIMES:
        try:
            return brand, metadata.version(brand)
        except metadata.PackageNotFoundError:
            continue
    return "", ""


def read_settings(root: Path) -> Settings:
    """What the device was told.

    Raises:
        Refusal: It was not set up, or the file is damaged.
    """
    path = root / SETTINGS
    try:
        return parse(Settings, path.read_bytes())
    except FileNotFoundError as cause:
        hint = "set it up: hwc update --root-dir DIR --repo REPO --product NAME --trust root.json"
        raise Refusal(Code.STATE, f"{root}: this device is not set up", hint) from cause
    except (HwcError, OSError) as cause:
        raise Refusal(Code.STATE, f"{path}: {cause}", "set the device up again") from cause


def set_up(root: Path, settings: Settings, trusted: Path) -> None:
    """Write down what the device is told, and the root that it is to trust from now on.

    Raises:
        Refusal: It was set up already, or the root cannot be read.
    """
    check_product(settings.product)
    if (root / SETTINGS).exists():
        raise Refusal(Code.STATE, f"{root}: is set up already", f"edit {root / SETTINGS}")
    try:
        text = trusted.read_bytes()
    except OSError as cause:
        hint = "copy metadata/1.root.json of the repository by a way that you trust"
        raise Refusal(Code.KEY, f"{trusted}: {cause.strerror}", hint) from cause
    root.mkdir(parents=True, exist_ok=True)
    store.write(root / ROOT, text)
    store.write(root / SETTINGS, canonical(settings).encode())  # last: without it nothing is set up


@contextmanager
def agent(root: Path, progress: Progress | None = None) -> Iterator[tuple[Agent, Settings]]:
    """The agent of a device, and what the device was told."""
    settings = read_settings(root)
    with RealDisk(root) as disk:
        yield (
            Agent(
                root=root,
                disk=disk,
                health=_health(settings),
                device=settings.device,
                machine=settings.machine,
                progress=progress or Silent(),
            ),
            settings,
        )


def _health(settings: Settings) -> Health:
    if settings.health == NONE:
        return Unchecked()
    if settings.health == AUTO:
        own = (sys.executable, "-c", "from hwc.tools.cli import main; main()", "health")
        return Hook(own, settings.limit)
    return Hook(tuple(shlex.split(settings.health)), settings.limit)
