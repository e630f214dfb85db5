"""The agent on a real file system: killed, or told of a full or failing disk, at every call."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hwc.toolchain.update.agent.audit import Event
from hwc.toolchain.update.agent.real_disk import RealDisk
from hwc.toolchain.update.agent.recover import recover
from hwc.toolchain.update.agent.state import State
from hwc.toolchain.update.agent.update import Result
from hwc.toolchain.update.refusal import Code, Refusal

from .chain import run_chain
from .faulty_disk import Fault, FaultyDisk
from .world import NEW, NEWER, OLD, Allowed, faults_after, faults_before, make_agent, run_update

CHANGES = {"write", "create", "append", "mkdir", "link", "rename", "unlink", "rmdir", "sync"}
NEEDS_ROOM = {"write", "create", "mkdir", "link"}
MEMORY = Path("/dev/shm")  # noqa: S108 - folders with names of their own are made there
EITHER = Allowed((OLD, NEW), State(seq=OLD.seq))
OLD_OR_NEWER = Allowed((OLD, NEWER), State(seq=OLD.seq))
ONLY_NEWER = Allowed((NEWER,), State(seq=NEWER.seq))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a sync costs nothing, if there is one: killing a process loses nothing anyway."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


@pytest.fixture
def base(folder: Path) -> Path:
    """The folder of an agent with the old release."""
    return installed(folder)


def installed(folder: Path) -> Path:
    """Make an agent's folder with the old release in it."""
    root = folder / "base"
    root.mkdir()
    with RealDisk(root) as disk:
        run_update(make_agent(disk, root=root), OLD)
    return root


def changes_of(root: Path, run: Callable[..., object]) -> list[int]:
    """The numbers of the calls that change something when it runs in a copy of a folder."""
    found: list[int] = []

    def note(number: int, name: str) -> None:
        if name in CHANGES:
            found.append(number)

    with fresh(root) as disk:
        run(make_agent(FaultyDisk(disk, note), root=root))
    return found


def fresh(base: Path) -> RealDisk:
    """A copy of a folder, in place of an earlier copy."""
    root = base.with_name("root")
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(base, root, symlinks=True)
    return RealDisk(root)


def killed(disk: RealDisk, at: int, run: Callable[..., object]) -> None:
    """Let another process do it, and kill that before its call number `at`."""

    def fault(number: int, _: str) -> None:
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)

    if (child := os.fork()) == 0:
        try:
            run(make_agent(FaultyDisk(disk, fault)))
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)


def check(disk: RealDisk, allowed: Allowed = EITHER, before: Allowed = EITHER) -> None:
    """Whether all is well before and after recovering."""
    agent = make_agent(disk)
    assert faults_before(agent, before) == ""
    recover(agent)
    assert faults_after(agent, allowed) == ""
    changes: list[str] = []
    again = FaultyDisk(disk, lambda _, name: changes.append(name))
    assert recover(make_agent(again)).found is None
    assert not CHANGES & set(changes)


def test_killed_before_every_change_of_an_update(base: Path) -> None:
    calls = changes_of(base, run_update)
    assert len(calls) > 40
    for at in calls:
        with fresh(base) as disk:
            killed(disk, at, run_update)
            check(disk)


def test_killed_before_every_change_of_a_chain(base: Path) -> None:
    calls = changes_of(base, run_chain)
    assert len(calls) > 60
    for at in calls:
        with fresh(base) as disk:
            killed(disk, at, run_chain)
            check(disk, OLD_OR_NEWER, OLD_OR_NEWER)
            assert run_chain(make_agent(disk)).result in (Result.UPDATED, Result.CURRENT)
            check(disk, ONLY_NEWER, ONLY_NEWER)


def test_killed_again_while_it_recovers(base: Path) -> None:
    middle = base.with_name("middle")
    for at in changes_of(base, run_update)[10::6]:
        with fresh(base) as disk:
            killed(disk, at, run_update)
        shutil.rmtree(middle, ignore_errors=True)
        shutil.copytree(base.with_name("root"), middle, symlinks=True)
        for again in changes_of(middle, recover):
            with fresh(middle) as disk:
                killed(disk, again, recover)
                check(disk)


def test_killed_during_the_first_install(folder: Path) -> None:
    (folder / "base").mkdir()
    install = lambda agent: run_update(agent, OLD)  # noqa: E731
    for at in changes_of(folder / "base", install):
        with fresh(folder / "base") as disk:
            killed(disk, at, install)
            recover(make_agent(disk))
            assert faults_after(make_agent(disk), Allowed((None, OLD), State())) == ""


@pytest.mark.parametrize(
    ("code", "persists"),
    [(errno.EIO, False), (errno.ENOSPC, False), (errno.ENOSPC, True)],
    ids=["EIO", "ENOSPC", "full for good"],
)
def test_told_of_an_error_at_every_call(base: Path, code: int, persists: bool) -> None:  # noqa: FBT001 - a parameter of the test
    at = 0
    while _fails_at(base, at, _failing(at, code, persists=persists)):
        at += 1
    assert at > 100


def _failing(at: int, code: int, *, persists: bool) -> Fault:
    def fault(number: int, name: str) -> None:
        hit = number >= at and name in NEEDS_ROOM if persists else number == at
        if hit:
            raise OSError(code, os.strerror(code))

    return fault


def _fails_at(base: Path, at: int, fault: Fault) -> bool:
    """Run an update on a disk that fails, and see what came of it; whether it failed."""
    with fresh(base) as disk:
        faulty = FaultyDisk(disk, fault)
        try:
            run_update(make_agent(faulty))
        except Refusal as refusal:
            check(disk, _as_said(refusal))
            return True
        check(disk, Allowed((NEW,), State(seq=NEW.seq), Event.COMMIT))
        return faulty.calls > at


def _as_said(refusal: Refusal) -> Allowed:
    assert refusal.code is Code.DISK
    if refusal.kept.startswith("kept"):
        release = {"kept v1.4, slot A": OLD, "kept v1.5, slot B": NEW}[refusal.kept]
        return Allowed((release,), State(seq=release.seq))
    assert "hwc recover" in refusal.kept or refusal.kept == "nothing was changed"
    return EITHER


def test_room_is_made_before_room_is_needed(base: Path) -> None:
    at = changes_of(base, run_update)[20]
    with fresh(base) as disk:
        killed(disk, at, run_update)
        assert disk.kind("slots/b.tmp") is not None
        seen: list[str] = []
        recover(make_agent(FaultyDisk(disk, lambda _, name: seen.append(name))))
        first = next(i for i, name in enumerate(seen) if name in NEEDS_ROOM)
        assert {"unlink", "rmdir"} <= set(seen[:first])


STRACE = shutil.which("strace")
CHILD = """
import sys
from pathlib import Path
from hwc.tests.toolchain.update.agent.world import NEW, make_agent, run_update
from hwc.toolchain.update.agent.real_disk import RealDisk
root = Path(sys.argv[1])
with RealDisk(root) as disk:
    run_update(make_agent(disk, root=root), NEW)
"""
SYSCALLS = ("write", "fsync", "rename", "renameat", "unlinkat", "symlinkat", "mkdirat")


@pytest.mark.skipif(
    STRACE is None or "HWC_TEST_SYSCALLS" not in os.environ,
    reason="takes a minute: set HWC_TEST_SYSCALLS, and have strace",
)
@pytest.mark.parametrize("inject", ["signal=SIGKILL", "error=EIO", "error=ENOSPC"])
def test_every_system_call_of_a_real_process(tmp_path: Path, inject: str) -> None:
    base = installed(tmp_path)
    calls = 0
    for name in SYSCALLS:
        for at in range(1, 500):
            with fresh(base) as disk:
                hit = _traced(base.with_name("root"), name, f"{inject}:when={at}")
                check(disk)
            if not hit:
                break
            calls += 1
    assert calls >= 40


def _traced(root: Path, name: str, inject: str) -> bool:
    """Run an update of which one system call goes wrong; whether it came to that."""
    log = root.with_name("trace")
    options = ["-f", "-o", str(log), "-e", f"trace={name}", "-e", f"inject={name}:{inject}"]
    child = [sys.executable, "-B", "-c", CHILD, str(root)]
    subprocess.run([str(STRACE), *options, *child], check=False, capture_output=True)
    text = log.read_text()
    return "INJECTED" in text or "killed by" in text
