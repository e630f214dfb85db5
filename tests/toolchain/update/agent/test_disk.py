"""Tests of toolchain/update/agent/{disk,real_disk,lock}.py; the simulated disk does the same."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hwc.toolchain.update.agent.disk import Disk, Kind, read, remove, replace, write_new
from hwc.toolchain.update.agent.real_disk import RealDisk
from hwc.toolchain.update.refusal import Code, Refusal

from .sim_disk import SimDisk


@pytest.fixture(params=["real", "simulated"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """Both disks."""
    if request.param == "simulated":
        yield SimDisk()
    else:
        with RealDisk(tmp_path) as real:
            yield real


@pytest.fixture
def real(tmp_path: Path) -> Iterator[RealDisk]:
    """A disk whose folder has a neighbour."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("s")
    (tmp_path / "root").mkdir()
    with RealDisk(tmp_path / "root") as found:
        yield found


def test_a_file_grows_from_its_end(disk: Disk) -> None:
    disk.mkdir("f")
    with closing(disk.create("f/x")) as file:
        file.write(b"ab")
        file.sync()
    with closing(disk.append("f/x")) as file:
        file.write(b"c")
    with closing(disk.open("f/x")) as reader:
        assert reader.size == 3
        assert [reader.read(0, 9), reader.read(1, 1), reader.read(3, 1)] == [b"abc", b"b", b""]
    assert read(disk, "f/x", 1) == b"ab", "one more than the cap, so that it shows"


def test_kinds_and_names(disk: Disk) -> None:
    disk.mkdir("f")
    disk.link("l", "f/x")
    write_new(disk, "b", b"")
    assert disk.list("") == ("b", "f", "l")
    kinds = [disk.kind(path) for path in ("f", "l", "b", "none", "none/x")]
    assert kinds == [Kind.FOLDER, Kind.LINK, Kind.FILE, None, None]
    assert disk.target("l") == "f/x"


def test_replace_leaves_nothing_beside_it(disk: Disk) -> None:
    disk.mkdir("s")
    replace(disk, "s/x", b"1")
    disk.link("s/x.tmp", "elsewhere")
    replace(disk, "s/x", b"2")
    assert disk.list("s") == ("x",)
    assert read(disk, "s/x", 9) == b"2"


def test_remove_takes_a_folder_with_all_in_it(disk: Disk) -> None:
    disk.mkdir("f")
    disk.mkdir("f/g")
    write_new(disk, "f/g/x", b"1")
    disk.link("f/l", "g")
    remove(disk, "f")
    remove(disk, "f")
    assert disk.list("") == ()


@pytest.mark.parametrize(
    "call",
    [lambda d: d.create("x"), lambda d: d.mkdir("x"), lambda d: d.link("x", "y")],
    ids=["create", "mkdir", "link"],
)
def test_nothing_is_made_where_something_is(disk: Disk, call: Callable[[Disk], object]) -> None:
    write_new(disk, "x", b"1")
    with pytest.raises(FileExistsError):
        call(disk)
    assert read(disk, "x", 9) == b"1"


@pytest.mark.parametrize("path", ["../outside/secret", "/etc/passwd", "a/../../outside", "a//b"])
def test_a_path_that_leaves_the_folder_is_refused(real: RealDisk, path: str) -> None:
    real.mkdir("a")
    with pytest.raises(Refusal) as caught:
        real.open(f"{path}/x")
    assert caught.value.code is Code.PATH


CALLS = {
    "open": lambda d: d.open("l/secret"),
    "create": lambda d: d.create("l/new"),
    "append": lambda d: d.append("l/secret"),
    "unlink": lambda d: d.unlink("l/secret"),
    "mkdir": lambda d: d.mkdir("l/new"),
    "link": lambda d: d.link("l/new", "x"),
    "list": lambda d: d.list("l"),
    "sync": lambda d: d.sync("l"),
    "rename": lambda d: d.rename("l/secret", "l/new"),
    "kind": lambda d: d.kind("l/secret"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_linked_folder_is_not_entered(real: RealDisk, tmp_path: Path, call: str) -> None:
    (tmp_path / "root" / "l").symlink_to("../outside")
    with pytest.raises(Refusal) as caught:
        CALLS[call](real)
    assert caught.value.code is Code.PATH
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["secret"]


@pytest.mark.parametrize("plant", ["link", "pipe", "folder"])
@pytest.mark.parametrize("call", ["open", "append"])
def test_only_plain_files_are_opened(real: RealDisk, tmp_path: Path, plant: str, call: str) -> None:
    path = tmp_path / "root" / "x"
    if plant == "link":
        path.symlink_to("../outside/secret")
    elif plant == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(Refusal, match="plain file") as caught:
        getattr(real, call)("x")
    assert caught.value.code is Code.PATH


def test_removing_a_link_leaves_what_it_leads_to(real: RealDisk, tmp_path: Path) -> None:
    real.link("l", "../outside")
    remove(real, "l")
    assert (tmp_path / "outside" / "secret").exists()


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="--root-dir"):
        RealDisk(tmp_path / "none")


def test_two_agents_at_once(tmp_path: Path) -> None:
    with RealDisk(tmp_path) as one, RealDisk(tmp_path) as two:
        with one.lock(), pytest.raises(Refusal) as caught, two.lock():
            pass
        assert caught.value.code is Code.BUSY
        with two.lock():
            assert two.free() > 0


def test_the_lock_of_a_killed_agent_is_free(tmp_path: Path) -> None:
    if (child := os.fork()) == 0:
        RealDisk(tmp_path).lock().__enter__()
        os._exit(0)
    os.waitpid(child, 0)
    with RealDisk(tmp_path) as disk, disk.lock():
        pass
