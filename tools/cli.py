"""The command `hwc`: finds the subcommand, loads only that one, and shows errors as one line."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Never

import click

from .. import __version__
from ..toolchain.errors import HwcError, InputError, OutputError
from .lazy import LazyGroup

# Name: (module and attribute, one line of help, so that `hwc --help` imports none of them).
COMMANDS = {
    "compile": (".compile:command", "Compile a model for a device into a bundle."),
    "show": (".show:command", "Show what was chosen for each node of a bundle, and why."),
    "verify": (".verify:command", "Check a bundle again: its bytes, its numbers, its speed."),
    "run": (".run:command", "Run a bundle on inputs from a file."),
    "bench": (".bench:command", "Time a bundle beside the original model."),
    "build": (".build:command", "Build the engine of a bundle, on its device."),
    "profile": (".profiling:command", "Measure a device's latency table, and look after tables."),
    "estimate": (".estimate:command", "Predict time, energy and memory, before anything is built."),
    "search": (".search:command", "Compare strategies at equal budgets of true evaluations."),
    "train-policy": (".train_policy:command", "Train the policy that proposes plans."),
    "keys": (".updates.keys:command", "Make the keys that a fleet's repository is signed with."),
    "repo": (".updates.repo:command", "Make and look after a repository of signed releases."),
    "publish": (
        ".updates.publish:command",
        "Sign a release, and make updates that lead to it.",
    ),
    "package": (".updates.package:command", "Make one update file from a bundle to another."),
    "inspect": (".updates.inspect:command", "Show what an update file holds, costs and changes."),
    "update": (".updates.update:command", "On a device: bring it to the newest release."),
    "rollback": (".updates.rollback:command", "On a device: go back to the release before."),
    "recover": (".updates.recover:command", "On a device: finish what a power cut left."),
    "status": (".updates.status:command", "On a device: what is installed and under way."),
    "health": (".updates.health:command", "On a device: whether a release works; a trial asks it."),
    "fleet": (".updates.fleet:command", "Plan updates of a whole fleet."),
    "devices": (".devices:command", "List the known devices, or show one."),
}
INTERRUPTED = 128 + signal.SIGINT  # as shells report it
_ENDINGS = ("SIGTERM", "SIGHUP")  # SIGHUP: the terminal is gone; not every system has it


class Terminated(BaseException):
    """A signal asks the command to end.

    It is not SystemExit: that is what code of the user may raise, and then it is that code's error.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number  # as shells report it


@dataclass(slots=True)
class Settings:
    """What the options before the subcommand say."""

    debug: bool = False


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hwc")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def hwc(context: click.Context, *, debug: bool) -> None:
    """Compile a trained model for a device: smaller, faster, and verified.

    \b
    hwc compile model.onnx --device host --data calib.npz --max-drop 1%
    hwc show model.hwc
    """  # noqa: D301 - click wants the escape
    context.ensure_object(Settings).debug = debug


def main(arguments: Sequence[str] | None = None) -> Never:
    """Run the command line and exit with its code."""
    _end_on_signals()
    settings = Settings()
    try:
        hwc.main(arguments, prog_name="hwc", obj=settings, standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except Terminated as ending:
        sys.exit(ending.exit_code)
    except BrokenPipeError:
        _quiet_stdout()
        sys.exit(1)
    except (HwcError, click.ClickException, OSError) as error:
        if settings.debug:
            traceback.print_exc()
        text, code = describe(error)
        click.echo(f"hwc: error: {text}", err=True)
        sys.exit(code)
    sys.exit(0)


def describe(error: HwcError | click.ClickException | OSError) -> tuple[str, int]:
    """The one line that a user reads about an error, and the exit code."""
    if isinstance(error, HwcError):
        text, code = str(error), error.exit_code
    elif isinstance(error, click.ClickException):
        command = (
            error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "hwc"
        )
        text, code = f"{error.format_message()} See '{command} --help'.", error.exit_code
    else:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        place = f"{error.filename}: " if error.filename else ""
        text = f"{place}{error.strerror or error}"
        code = OutputError.exit_code if full else InputError.exit_code
    return " ".join(text.split()), code


def _end_on_signals() -> None:
    """End as Ctrl-C does: what was half written is removed on the way out."""
    for number in (getattr(signal, name) for name in _ENDINGS if hasattr(signal, name)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, _terminate)


def _terminate(number: int, frame: FrameType | None) -> Never:
    del frame
    raise Terminated(number)


def _quiet_stdout() -> None:
    """Let the interpreter's own last flush of a closed pipe go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
