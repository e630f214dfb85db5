"""The shell of the command line: quick, and one line for every error."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from hwc.toolchain.errors import (
    BackendError,
    ConstraintError,
    DeviceError,
    HwcError,
    InputError,
    IntegrityError,
    OutputError,
    UsageError,
)
from hwc.tools import cli
from hwc.tools.cli import COMMANDS, describe, main

HEAVY = ("numpy", "onnx", "onnx_ir", "onnxruntime", "rich", "scipy", "torch", "yaml", "tensorrt")
HELP = """
import json, sys, time
sys.argv = ["hwc", *sys.argv[1:]]
from hwc.tools.cli import main
try:
    main()
finally:
    print(json.dumps([time.process_time(), sorted(sys.modules)]), file=sys.stderr)
"""
WAIT = """
import sys, time
import click
from pathlib import Path
from hwc.tools import cli
from hwc.toolchain.output import atomic_output
@click.command()
def wait():
    with atomic_output(Path(sys.argv[2])) as place:
        place.write_text("half")
        print("ready", flush=True)
        time.sleep(30)
cli.hwc.add_command(wait)
cli.LazyGroup.get_command = click.Group.get_command
cli.main(["wait"])
"""


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the command line end with this error."""

    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli.hwc, "main", failing)


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HELP, "--help"], capture_output=True, text=True, check=True
    )
    seconds, modules = json.loads(done.stderr)
    assert not {module.split(".")[0] for module in modules} & set(HEAVY)
    assert not {m for m in modules if m.startswith("hwc.tools.")} - {
        "hwc.tools.cli",
        "hwc.tools.lazy",
    }
    assert seconds <= 0.4
    for name, (_, text) in COMMANDS.items():
        assert f"  {name}" in done.stdout
        assert text in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_and_teaches_with_an_example(name: str) -> None:
    context = click.Context(cli.hwc)
    command = cli.hwc.get_command(context, name)
    assert command is not None
    text = command.get_help(click.Context(command, info_name=f"hwc {name}"))
    assert text.count(f"hwc {name}") >= 2  # the usage, and an example
    assert f"\n  hwc {name}" in text  # on a line of its own
    assert "\\b" not in text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HwcError("a", "b"), 1),
        (UsageError("a", "b"), 2),
        (InputError("a", "b"), 3),
        (DeviceError("a", "b"), 4),
        (BackendError("a", "b"), 5),
        (ConstraintError("a", "b"), 6),
        (OutputError("a", "b"), 7),
        (IntegrityError("a", "b"), 8),
        (click.UsageError("a"), 2),
        (OSError(errno.ENOSPC, "No space left on device"), 7),
        (PermissionError(errno.EACCES, "Permission denied", "x.npz"), 3),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_exit_codes(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail_with(error, monkeypatch)
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == (0 if code == 130 else 1)
    assert code == 130 or err.startswith("hwc: error: ")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InputError("x.onnx: cut short", "copy it again"), "x.onnx: cut short: copy it again"),
        (InputError("two\nlines", "and\n  more"), "two lines: and more"),
        (click.UsageError("No such option"), "No such option See 'hwc --help'."),
        (PermissionError(errno.EACCES, "Permission denied", "x.npz"), "x.npz: Permission denied"),
    ],
    ids=["hint", "lines", "usage", "os"],
)
def test_an_error_is_one_line(error: HwcError | click.ClickException | OSError, text: str) -> None:
    assert describe(error)[0] == text


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["complie"])
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("hwc: error: No such command 'complie'.")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("hwc, version 0.")


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_a_traceback_only_with_debug(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, debug: bool
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*(["--debug"] if debug else []), "show", str(tmp_path / "none")])
    assert end.value.code == 3
    error = capsys.readouterr().err
    assert ("Traceback" in error) is debug
    assert error.splitlines()[-1].startswith(f"hwc: error: {tmp_path / 'none'}: no such bundle")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "terminate"]
)
def test_signals_leave_nothing_behind(tmp_path: Path, number: int, code: int) -> None:
    command = [sys.executable, "-c", WAIT, "wait", str(tmp_path / "out")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(number)
        assert process.wait(10) == code
        assert "Traceback" not in process.stderr.read()
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_left_is_no_error_message() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "from hwc.tools.cli import main; main(['--help'])"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 1
