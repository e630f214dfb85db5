"""What ends a command from outside, a signal or a full disk: nothing is left half written."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Desk

HWC = (sys.executable, "-c", "from hwc.tools.cli import main; main()")
PATIENCE = 60  # seconds; a compilation of the test's model takes about 5
OUTPUT = 7
# A disk of its own, in a namespace of its own: it is gone when the command has ended.
ON_A_DISK = """
mount -t tmpfs -o "$1" tmpfs disk || exit 99
shift
"$@"
code=$?
ls -A disk
exit $code
"""
NO_MOUNT = 99


def environment() -> dict[str, str]:
    """The test's own, in which nobody but hwc leaves files."""
    return {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def measuring(folder: Path) -> bool:
    """Whether kernels are being timed: the runtime's profiles lie in a temporary folder."""
    return any(folder.glob("tmp/hwc-profile-*"))


def at_the_gate(folder: Path) -> bool:
    """Whether the bundle is being made, beside its target."""
    return any(path.is_dir() for path in folder.glob("work/.out.hwc.*"))


@pytest.mark.parametrize(
    ("number", "code", "moment"),
    [
        pytest.param(signal.SIGINT, 130, measuring, id="ctrl-c while measuring"),
        pytest.param(signal.SIGINT, 130, at_the_gate, id="ctrl-c at the gate"),
        pytest.param(signal.SIGTERM, 143, at_the_gate, id="kill at the gate"),
        pytest.param(signal.SIGHUP, 129, at_the_gate, id="terminal lost at the gate"),
    ],
)
def test_a_signal_in_the_middle_of_compile(
    desk: "Desk", tmp_path: Path, number: int, code: int, moment: Callable[[Path], bool]
) -> None:
    table = desk.table if moment is at_the_gate else desk.table.with_name(f"{number}.sqlite")
    before = desk.snapshot()
    command = ["compile", "model.onnx", "--data", "data.npz", "-o", "out.hwc", "-q"]
    command += ["--strategy", "exact"]  # the gate comes sooner
    with subprocess.Popen(
        [*HWC, *command, "--table", str(table)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + PATIENCE
        while not moment(tmp_path):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.005)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err.strip()) == (code, "", "")
    assert desk.snapshot() == before


def test_a_signal_in_the_users_code_is_no_error_of_it(desk: "Desk", tmp_path: Path) -> None:
    Path("slow.py").write_text(
        "import time\ndef feeds():\n    open('../tmp/begun', 'w').close()\n    time.sleep(60)\n"
    )
    before = desk.snapshot()
    with subprocess.Popen(
        [*HWC, "compile", "model.onnx", "--data", "slow.py:feeds", "-q"],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + PATIENCE
        while not (begun := tmp_path / "tmp/begun").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.005)
        begun.unlink()
        process.terminate()
        _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (143, "")
    assert desk.snapshot() == before


@pytest.fixture
def on_a_disk() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command with a file system of its own at `disk`."""
    if shutil.which("unshare") is None:
        pytest.skip("mounting a small disk for one command needs unshare (util-linux)")

    def run(options: str, *command: object) -> subprocess.CompletedProcess[str]:
        alone = ["unshare", "--map-root-user", "--mount", "sh", "-c", ON_A_DISK, "sh", options]
        Path("disk").mkdir(exist_ok=True)
        return subprocess.run(
            [*alone, *map(str, command)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    probe = run("size=4k", "true")
    if probe.returncode:
        pytest.skip(f"no small disk can be mounted here: {probe.stderr.strip()}")
    return run


@pytest.mark.parametrize(
    ("options", "command", "words"),
    [
        pytest.param(
            "size=40k",
            ["compile", "model.onnx", "--data", "data.npz", "-o", "disk/out.hwc"],
            "disk/out.hwc: the disk is full",
            id="compile",
        ),
        pytest.param(
            "size=8k",
            ["compile", "model.onnx", "--data", "data.npz", "--table", "disk/new.sqlite"],
            "latency table disk/new.sqlite: ",
            id="latency table",
        ),
        pytest.param(
            "size=4k",
            ["run", "host.hwc", "--input", "many.npz", "-o", "disk/y.npz"],
            "disk/y.npz: the disk is full",
            id="run",
        ),
        pytest.param(
            "ro",
            ["compile", "model.onnx", "-o", "disk/out.hwc"],
            "disk/out.hwc: cannot be written: Read-only file system",
            id="read-only",
        ),
    ],
)
def test_a_full_or_read_only_disk(
    desk: "Desk",
    on_a_disk: Callable[..., subprocess.CompletedProcess[str]],
    options: str,
    command: list[str],
    words: str,
) -> None:
    np.savez("many.npz", x=np.zeros((2000, 3, 16, 16), np.float32))
    if command[0] == "compile":
        known = [] if "--table" in command else ["--table", str(desk.table)]
        command = [*command, "-q", *known]
    before = desk.snapshot()
    done = on_a_disk(options, *HWC, *command)
    assert (done.returncode, done.stdout) == (OUTPUT, "")  # what is left on the disk is printed
    assert done.stderr.startswith(f"hwc: error: {words}")
    assert done.stderr.count("\n") == 1
    assert desk.snapshot() == before
