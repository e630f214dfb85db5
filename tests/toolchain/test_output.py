"""Output is whole or absent, whatever ends the work."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hwc.toolchain.errors import OutputError
from hwc.toolchain.output import atomic_output, check_target

SLEEPER = """
import sys, time
from pathlib import Path
from hwc.toolchain.output import atomic_output
with atomic_output(Path(sys.argv[1])) as place:
    place.mkdir()
    (place / "half").write_text("written")
    print("ready", flush=True)
    time.sleep(30)
"""


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(target: Path, error: BaseException, *, force: bool = False) -> None:
    """Fail in the middle of the work."""
    with atomic_output(target, force=force) as place:
        place.mkdir()
        (place / "half").write_text("x")
        raise error


def write_late(target: Path) -> None:
    """Lose the race against another program."""
    with atomic_output(target) as place:
        place.write_text("new")
        target.write_text("other")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_appears_when_the_block_ends(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    with atomic_output(target) as place:
        if kind == "folder":
            place.mkdir()
        (place / "a" if kind == "folder" else place).write_text("x")
        assert not target.exists()
    assert (target / "a" if kind == "folder" else target).read_text() == "x"
    assert listing(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_nothing_and_keeps_the_old(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "out"
    target.write_text("old")
    with pytest.raises(error):
        write_half(target, error(), force=True)
    assert target.read_text() == "old"
    assert listing(tmp_path) == ["out"]


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLEEPER, str(tmp_path / "out")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert listing(tmp_path) != []
        process.send_signal(signal.SIGINT)
        assert process.wait(10) != 0
    assert listing(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_force_replaces(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    if kind == "folder":
        target.mkdir()
    (target / "old" if kind == "folder" else target).write_text("old")
    with atomic_output(target, force=True) as place:
        place.write_text("new")
    assert target.read_text() == "new"
    assert listing(tmp_path) == ["out"]


def test_the_old_comes_back_where_the_new_cannot_take_its_place(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_text("old")
    with pytest.raises(OutputError, match="No such file"), atomic_output(target, force=True):
        pass  # the block made nothing
    assert target.read_text() == "old"
    assert listing(tmp_path) == ["out"]


def test_does_not_replace_what_appeared_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(OutputError, match="meanwhile"):
        write_late(target)
    assert target.read_text() == "other"
    assert listing(tmp_path) == ["out"]


def test_full_disk_names_the_target(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(OutputError, match="out: the disk is full"):
        write_half(target, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert listing(tmp_path) == []


def test_other_errors_of_the_block_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_output(tmp_path / "out"):
        (tmp_path / "data").read_text()


def test_a_really_full_disk(tmp_path: Path) -> None:
    if not Path("/bin/mount").exists():
        pytest.skip("there is no mount command here")
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("mounting a tmpfs is not permitted here")
    try:
        with (
            pytest.raises(OutputError, match="the disk is full"),
            atomic_output(tmp_path / "out") as place,
        ):
            place.write_bytes(bytes(1 << 20))
        assert listing(tmp_path) == []
    finally:
        subprocess.run(["/bin/umount", str(tmp_path)], check=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere/out", "there is no folder"), ("taken", "exists already"), ("file/out", "no folder")],
    ids=["no parent", "exists", "parent is a file"],
)
def test_check_refuses(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=message):
        check_target(tmp_path / name, force=False)


def test_check_refuses_a_dangling_link_as_taken(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "nothing")
    with pytest.raises(OutputError, match="exists already"):
        check_target(tmp_path / "out", force=False)


def test_check_refuses_a_folder_that_is_not_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)  # root may write anywhere
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        check_target(tmp_path / "out", force=False)


def test_check_refuses_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="name too long"):
        check_target(tmp_path / ("x" * 250), force=False)


def test_a_bare_name_lands_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with atomic_output(Path("out")) as place:
        place.write_text("x")
    assert (tmp_path / "out").read_text() == "x"
