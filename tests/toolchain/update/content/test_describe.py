"""A release says what its folder holds, to the byte, and holds nothing else."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.update.content.describe import describe, read_release, walk, write_release
from hwc.toolchain.update.limits import Limits
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import RELEASE, Compatibility, Golden, Release
from onnx import helper, numpy_helper

WEIGHTS = {f"w{i}": np.random.default_rng(i).random(50 * i).astype(np.float32) for i in range(4)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of plain files, a model among them."""
    root = tmp_path / "release"
    (root / "a" / "b").mkdir(parents=True)
    tensors = [numpy_helper.from_array(array, name) for name, array in WEIGHTS.items()]
    model = helper.make_model(helper.make_graph([], "g", [], [], tensors))
    (root / "model.onnx").write_bytes(model.SerializeToString())
    (root / "a" / "b" / "empty").touch()
    (root / "a" / "large").write_bytes(bytes(3 << 20))
    (root / "golden.npz").write_bytes(b"golden")
    return root


def of(folder: Path, golden: Golden | None = None) -> Release:
    return describe(
        folder,
        product="doorbell",
        version="1.4",
        seq=7,
        sec_epoch=2,
        compatibility=Compatibility(arch="aarch64"),
        golden=golden,
        provenance={"who": "a test"},
    )


def release_in(folder: Path) -> Release:
    release = of(folder)
    write_release(folder, release)
    return release


def refused(folder: Path, *, verify: bool = True) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read_release(folder, verify=verify)
    return caught.value


def test_every_file_and_tensor(folder: Path) -> None:
    release = of(folder, Golden("golden.npz"))
    assert [file.path for file in release.files] == [
        *("a/b/empty", "a/large", "golden.npz", "model.onnx")
    ]
    for file in release.files:
        data = (folder / file.path).read_bytes()
        assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        for tensor in file.tensors:
            part = data[tensor.offset : tensor.offset + tensor.size]
            assert part == WEIGHTS[tensor.name].tobytes()
            assert tensor.sha256 == hashlib.sha256(part).hexdigest()
    assert [tensor.name for tensor in release.files[-1].tensors] == list(WEIGHTS)
    assert (release.product, release.version, release.seq) == ("doorbell", "1.4", 7)
    assert (release.sec_epoch, release.provenance) == (2, {"who": "a test"})


def test_round_trip(folder: Path) -> None:
    release = release_in(folder)
    assert (folder / RELEASE).read_bytes() == release.text()
    assert read_release(folder) == release
    assert of(folder) == release  # bundle.json does not describe itself
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ("a", RELEASE, "golden.npz", "model.onnx")
    )


def test_a_second_one_replaces_the_first(folder: Path) -> None:
    write_release(folder, replace(release_in(folder), seq=8))
    assert read_release(folder).seq == 8


@pytest.mark.parametrize("where", ["model.onnx", "golden.npz", "a/large"])
def test_a_changed_byte(folder: Path, where: str) -> None:
    release_in(folder)
    data = bytearray((folder / where).read_bytes())
    data[-1] ^= 1
    (folder / where).write_bytes(data)
    refusal = refused(folder)
    assert (refusal.code, where in refusal.message) == (Code.DIGEST, True)
    assert read_release(folder, verify=False) == read_release(folder, verify=False)


@pytest.mark.parametrize("verify", [True, False], ids=["verify", "fast"])
@pytest.mark.parametrize("change", ["missing", "added", "longer", "a link", "a pipe"])
def test_other_files(folder: Path, change: str, *, verify: bool) -> None:
    release_in(folder)
    path = folder / "golden.npz"
    match change:
        case "missing":
            path.unlink()
        case "added":
            (folder / "a" / "more").touch()
        case "longer":
            path.write_bytes(b"golden!")
        case "a link":
            path.rename(folder.parent / "golden.npz")
            path.symlink_to(folder.parent / "golden.npz")
        case "a pipe":
            path.unlink()
            os.mkfifo(path)
    code = Code.PATH if change.startswith("a ") else Code.DIGEST
    assert refused(folder, verify=verify).code is code


def test_a_tensor_with_another_digest(folder: Path) -> None:
    release = release_in(folder)
    *others, model = release.files
    *tensors, last = model.tensors
    wrong = replace(model, tensors=(*tensors, replace(last, sha256="0" * 64)))
    write_release(folder, replace(release, files=(*others, wrong)))
    assert read_release(folder, verify=False).files[-1] == wrong
    assert "'w3'" in refused(folder).message


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[" * 100_000], ids=["empty", "no release", "deep"]
)
def test_no_release(folder: Path, content: bytes) -> None:
    (folder / RELEASE).write_bytes(content)
    assert refused(folder).code is Code.MALFORMED


def test_a_large_one_is_not_read(folder: Path) -> None:
    release_in(folder)
    with pytest.raises(Refusal) as caught:
        read_release(folder, limits=Limits(release=100))
    assert caught.value.code is Code.LIMIT


def test_none_there(folder: Path) -> None:
    assert refused(folder).code is Code.PATH
    assert refused(folder / "gone").code is Code.PATH


@pytest.mark.parametrize(
    "name", ["a\\b", "c:d", "new\nline", "bell\a", "x" * 241, os.fsdecode(b"\xff")], ids=ascii
)
def test_forbidden_names(folder: Path, name: str) -> None:
    below = folder
    for part in [name[i : i + 100] for i in range(0, len(name), 100)]:
        below.mkdir(exist_ok=True)
        below = below / part
    below.touch()
    with pytest.raises(Refusal) as caught:
        of(folder)
    assert caught.value.code is Code.PATH
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("target", ["a", "gone", "/"])
def test_links(folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)
    with pytest.raises(Refusal, match="link") as caught:
        of(folder)
    assert caught.value.code is Code.PATH


def test_bundle_json_as_a_link(folder: Path) -> None:
    release_in(folder)
    (folder / RELEASE).rename(folder.parent / RELEASE)
    (folder / RELEASE).symlink_to(folder.parent / RELEASE)
    assert refused(folder).code is Code.PATH


def test_what_no_device_accepts_is_not_described(folder: Path) -> None:
    with pytest.raises(Refusal, match=r"lacks gone\.npz"):
        of(folder, Golden("gone.npz"))


def test_a_broken_model_is_a_plain_file(folder: Path) -> None:
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(data[: len(data) // 2])
    assert of(folder).files[-1].tensors == ()


def test_order_does_not_depend_on_the_disk(folder: Path) -> None:
    for name in ("z", "B", "a.b", "a-b", "é"):
        (folder / name).touch()
    assert list(walk(folder)) == sorted(walk(folder))
    assert [file.path for file in of(folder).files] == list(walk(folder))
