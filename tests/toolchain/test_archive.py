"""A hostile or damaged zip is refused before anything of it is written."""

import stat
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from hwc.toolchain.archive import Limits, check_member, pack, unpack
from hwc.toolchain.errors import HwcError, IntegrityError, OutputError


def archive(path: Path, members: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, content)
    return path


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


FILES = {"model.onnx": b"abc" * 1000, "engine/a.bin": bytes(range(256)), "empty": b""}


def test_round_trip(tmp_path: Path) -> None:
    pack(folder(tmp_path / "in", FILES), tmp_path / "x.zip")
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "x.zip", tmp_path / "out")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == FILES


def test_equal_folders_give_equal_archives(tmp_path: Path) -> None:
    for name, files in (("a", FILES), ("b", dict(reversed(FILES.items())))):
        pack(folder(tmp_path / name, files), tmp_path / f"{name}.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../up",
        "a/../../up",
        "a//b",
        "./a",
        "a/",
        "a\\b",
        "c:x",
        "a\x00b",
        "a\nb",
    ],
    ids=repr,
)
def test_path_rule_refuses(name: str) -> None:
    with pytest.raises(IntegrityError, match="is not allowed"):
        check_member(name)


@pytest.mark.parametrize("name", ["model.onnx", "engine/sm80.plan", "..hidden", "gewölbe"])
def test_path_rule_accepts(name: str) -> None:
    check_member(name)


@pytest.mark.parametrize("name", ["../up", "/up", "a/../../up"])
def test_a_member_that_leaves_the_folder(tmp_path: Path, name: str) -> None:
    refused(archive(tmp_path / "x.zip", {"good": b"", name: b"x"}), "is not allowed")
    assert not (tmp_path / "up").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR], ids=hex)
def test_a_link_or_special_file(tmp_path: Path, kind: int) -> None:
    refused(archive(tmp_path / "x.zip", {"link": b"/etc"}, kind | 0o777), "a link or a special")


def test_the_same_name_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a", b"2")
    refused(tmp_path / "x.zip", "twice")


def test_a_bomb_by_ratio(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", {"zeros": bytes(1 << 20)})
    refused(path, "expands beyond belief", Limits(ratio=100))


def test_a_bomb_by_declared_size(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", {"a": bytes(600), "b": bytes(600)})
    refused(path, "declares more than 1000 B", Limits(archive_bytes=1000))


def test_a_bomb_by_overlap(tmp_path: Path) -> None:
    members = {f"{i}": bytes([i]) * 40 + bytes(range(256)) * 20 for i in range(20)}
    path = archive(tmp_path / "x.zip", members)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        start = file.start_dir
        first = file.infolist()[0]
    # Let every entry of the directory claim the whole archive as its compressed data.
    at = data.index(b"PK\x01\x02", start)
    while at >= 0:
        data[at + 20 : at + 24] = (len(data) // 2).to_bytes(4, "little")
        data[at + 42 : at + 46] = first.header_offset.to_bytes(4, "little")
        at = data.find(b"PK\x01\x02", at + 1)
    path.write_bytes(data)
    refused(path, "overlap|expands")


def test_too_many_files(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", {f"{i}": b"" for i in range(20)})
    refused(path, "more than 10 files", Limits(files=10))


class Usage(NamedTuple):
    """What is left of a disk."""

    free: int


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "x.zip", {"a": bytes(600)})
    monkeypatch.setattr("hwc.toolchain.archive.shutil.disk_usage", lambda _: Usage(100))
    refused(path, "600 B are needed", kind=OutputError)


def test_damage(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.zip", {"a": bytes(range(256)) * 10})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    (tmp_path / "out").mkdir()
    with pytest.raises(IntegrityError, match="damaged"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("size", [0, 1, 100], ids=str)
def test_cut_short(tmp_path: Path, size: int) -> None:
    path = archive(tmp_path / "x.zip", {"a": bytes(range(256)) * 10})
    path.write_bytes(path.read_bytes()[:size])
    refused(path, "damaged" if size > 1 else "is not a bundle")


def refused(
    path: Path, message: str, limits: Limits | None = None, kind: type[HwcError] = IntegrityError
) -> None:
    """The archive is refused, and nothing of it was written."""
    out = path.parent / "out"
    out.mkdir()
    with pytest.raises(kind, match=message):
        unpack(path, out, limits or Limits())
    assert list(out.iterdir()) == []
