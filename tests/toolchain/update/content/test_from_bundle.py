"""A bundle becomes a release and comes back byte by byte."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hwc.toolchain.archive import pack
from hwc.toolchain.bundle import (
    GOLDEN,
    MANIFEST,
    MODEL,
    PACKED,
    PLAN,
    Bundle,
    Manifest,
    Source,
    file_digest,
    seal,
    write_golden,
)
from hwc.toolchain.device import Confidence, DeviceProfile, Figure
from hwc.toolchain.engine import Engine
from hwc.toolchain.errors import OutputError
from hwc.toolchain.plan import Plan, Precision
from hwc.toolchain.storage.pack import pack_model
from hwc.toolchain.update.content.describe import read_release
from hwc.toolchain.update.content.from_bundle import Edition, from_bundle, model_files, to_bundle
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import RELEASE, Compatibility, Golden
from onnx import TensorProto, helper, numpy_helper

EDITION = Edition("doorbell", "1.4", 7, 2)
FIGURE = Figure(1.5, "a test", Confidence.LOW)
PROFILE = DeviceProfile(
    name="host",
    title="a test's host",
    backend="ort",
    target="x86_64+avx512_vnni",
    units=2,
    opset_max=23,
    peak={Precision.FP32: FIGURE},
    bandwidth=FIGURE,
    cache=FIGURE,
    memory=FIGURE,
    launch=FIGURE,
)
FACTS = Manifest(
    backend="ort",
    profile=PROFILE,
    engine=Engine((MODEL,), "onnxruntime 1.32.0", "x86_64+avx512_vnni"),
    build_commands=(),
    versions={"hwc": "0.1.0", "ort": "1.32.0"},
    sources=(Source("model", "m.onnx", 3, "a" * 64), Source("data", "m.bin", 3, "b" * 64)),
    checks=(),
)
WEIGHT = np.random.default_rng(1).random((8, 16)).astype(np.float32)


def model(*more: TensorProto) -> bytes:
    tensors = [numpy_helper.from_array(WEIGHT, "w"), *more]
    data: bytes = helper.make_model(helper.make_graph([], "g", [], [], tensors)).SerializeToString()
    return data


def bundle(folder: Path, facts: Manifest = FACTS, *, packed: bool = False) -> Path:
    (folder / "engine").mkdir(parents=True)
    if packed:
        (folder / PACKED).write_bytes(pack_model(model()))
    else:
        (folder / MODEL).write_bytes(model())
    (folder / PLAN).write_text(Plan.of({}).to_json())
    (folder / "engine" / "a.plan").write_bytes(bytes(100))
    write_golden(folder / GOLDEN, (({"x": np.ones(2)}, {"y": np.zeros(3)}),))
    seal(folder, facts)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def refused(source: Path, target: Path) -> Refusal:
    before = sorted(target.parent.iterdir())
    with pytest.raises(Refusal) as caught:
        from_bundle(source, target, EDITION)
    assert sorted(target.parent.iterdir()) == before
    return caught.value


@pytest.mark.parametrize("link", [False, True], ids=["copy", "link"])
def test_a_folder_and_back(tmp_path: Path, *, link: bool) -> None:
    source, there, back = bundle(tmp_path / "m"), tmp_path / "r", tmp_path / "b"
    release = from_bundle(source, there, EDITION, link=link)
    assert read_release(there) == release
    assert content(there).keys() == content(source).keys() | {RELEASE}
    assert (there / MODEL).samefile(source / MODEL) is link
    to_bundle(there, back, link=link)
    assert content(back) == content(source)
    with Bundle.open(there) as opened:
        assert opened.manifest.backend == "ort"


def test_a_zip_and_back(tmp_path: Path) -> None:
    archive = tmp_path / "m.zip"
    pack(bundle(tmp_path / "m"), archive)
    release = from_bundle(archive, tmp_path / "r", EDITION)
    to_bundle(tmp_path / "r", tmp_path / "b.zip", archive=True)
    assert (tmp_path / "b.zip").read_bytes() == archive.read_bytes()
    assert release == from_bundle(tmp_path / "m", tmp_path / "s", EDITION)
    assert len(list(tmp_path.iterdir())) == 5  # nothing is left beside


def test_a_release_can_be_released_again(tmp_path: Path) -> None:
    first = from_bundle(bundle(tmp_path / "m"), tmp_path / "r", EDITION)
    again = from_bundle(tmp_path / "r", tmp_path / "s", replace(EDITION, seq=8))
    assert (again.files, again.seq) == (first.files, 8)


def test_another_edition_of_a_release(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model())
    needs = Compatibility(accelerator="orin", memory=5)
    first = from_bundle(tmp_path / "m.onnx", tmp_path / "r", EDITION, compatibility=needs)
    second = from_bundle(tmp_path / "r", tmp_path / "r2", Edition("bell", "2", 8))
    expected = replace(first, product="bell", version="2", seq=8, sec_epoch=0)
    assert second == expected == read_release(tmp_path / "r2")


def test_a_damaged_release_gets_no_other_edition(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model())
    from_bundle(tmp_path / "m.onnx", tmp_path / "r", EDITION)
    with (tmp_path / "r" / "m.onnx").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    with pytest.raises(Refusal) as refusal:
        from_bundle(tmp_path / "r", tmp_path / "r2", EDITION)
    assert refusal.value.code is Code.DIGEST
    assert not (tmp_path / "r2").exists()


def test_what_the_manifest_says(tmp_path: Path) -> None:
    source = bundle(tmp_path / "m")
    release = from_bundle(source, tmp_path / "r", EDITION)
    assert (release.product, release.version, release.seq, release.sec_epoch) == (
        *("doorbell", "1.4", 7, 2),
    )
    assert release.golden == Golden(GOLDEN)
    assert release.provenance == {
        "backend": "ort",
        "profile": "host",
        "target": "x86_64+avx512_vnni",
        "manifest": file_digest(source / MANIFEST),
        "plan": file_digest(source / PLAN),
        "version.hwc": "0.1.0",
        "version.ort": "1.32.0",
        "source.0.model": "a" * 64,
        "source.1.data": "b" * 64,
    }
    (tensor,) = next(file for file in release.files if file.path == MODEL).tensors
    assert (tensor.name, tensor.shape) == ("w", (8, 16))


@pytest.mark.parametrize(
    ("target", "engine", "expected"),
    [
        (
            "x86_64+avx512_vnni",
            Engine((MODEL,), "onnxruntime 1.32.0", ""),
            Compatibility("x86_64", "", "", "onnxruntime", "1.32.0", "2", len(model())),
        ),
        (
            "sm87",
            Engine(("engine/a.plan",), "tensorrt_rtx 1.7.1.116", "sm87"),
            Compatibility("", "", "8.7", "tensorrt_rtx", "1.7.1.116", "1.7.1.117", 100),
        ),
        ("sm120", None, Compatibility(sm="12.0", memory=len(model()))),
        ("Ascend310P3", None, Compatibility(accelerator="Ascend310P3", memory=len(model()))),
        (
            "gfx906",
            Engine(("engine/a.plan",), "MIGraphX None", "gfx906"),
            Compatibility(accelerator="gfx906", runtime="MIGraphX None", memory=100),
        ),
    ],
    ids=["onnxruntime", "tensorrt", "not built", "ascend", "no version"],
)
def test_compatibility(
    tmp_path: Path, target: str, engine: Engine | None, expected: Compatibility
) -> None:
    facts = replace(FACTS, profile=replace(PROFILE, target=target), engine=engine)
    source = bundle(tmp_path / "m", facts)
    assert from_bundle(source, tmp_path / "r", EDITION).compatibility == expected
    other = Compatibility(arch="riscv64")
    release = from_bundle(source, tmp_path / "s", EDITION, compatibility=other)
    assert release.compatibility == other


def test_a_packed_model_stays_packed(tmp_path: Path) -> None:
    source = bundle(tmp_path / "m", packed=True)
    release = from_bundle(source, tmp_path / "r", EDITION)
    assert MODEL not in {file.path for file in release.files}
    assert release.compatibility.memory == (source / PACKED).stat().st_size
    to_bundle(tmp_path / "r", tmp_path / "b")
    assert content(tmp_path / "b") == content(source)


@pytest.mark.parametrize("link", [False, True], ids=["copy", "link"])
def test_a_model_with_external_data(tmp_path: Path, *, link: bool) -> None:
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (home / "data" / "w.bin").write_bytes(WEIGHT.tobytes())
    (home / "other").write_bytes(b"not of the model")
    (home / "net.onnx").write_bytes(model(outside("./data/../data/w.bin")))
    release = from_bundle(home / "net.onnx", tmp_path / "r", EDITION, link=link)
    assert [(f.path, len(f.tensors)) for f in release.files] == [("data/w.bin", 1), ("net.onnx", 1)]
    assert release.golden is None
    assert release.compatibility == Compatibility(memory=release.size)
    to_bundle(tmp_path / "r", tmp_path / "b")
    assert content(tmp_path / "b") == {
        name: (home / name).read_bytes() for name in ("net.onnx", "data/w.bin")
    }
    assert onnx.load(tmp_path / "b" / "net.onnx").graph.initializer[1].dims == [8, 16]


def outside(location: str) -> TensorProto:
    proto = TensorProto(name="e", data_type=1, dims=[8, 16], data_location=TensorProto.EXTERNAL)
    proto.external_data.add(key="location", value=location)
    return proto


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/hostname", "gone.bin", "link", "down/w", ""]
)
def test_external_data_from_elsewhere(tmp_path: Path, location: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "w.bin").write_bytes(b"secret")
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "w").write_bytes(b"secret")
    (home / "link").symlink_to(tmp_path / "w.bin")
    (home / "down").symlink_to(tmp_path / "away")
    (home / "net.onnx").write_bytes(model(outside(location)))
    assert refused(home / "net.onnx", tmp_path / "r").code is Code.PATH


def test_a_linked_model_is_the_file_it_names(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(model())
    (tmp_path / "net.onnx").symlink_to("blob")
    from_bundle(tmp_path / "net.onnx", tmp_path / "r", EDITION, link=True)
    assert not (tmp_path / "r" / "net.onnx").is_symlink()
    assert content(tmp_path / "r")["net.onnx"] == model()


def test_a_broken_model_is_released_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(model()[:-10])
    assert model_files(tmp_path / "net.onnx") == ("net.onnx",)
    (file,) = from_bundle(tmp_path / "net.onnx", tmp_path / "r", EDITION).files
    assert (file.size, file.tensors) == (len(model()) - 10, ())


@pytest.mark.parametrize("change", ["byte", "more", "less", "link", "no bundle", "nothing", "zip"])
def test_damage(tmp_path: Path, change: str) -> None:
    source = bundle(tmp_path / "m")
    match change:
        case "byte":
            (source / PLAN).write_bytes(b"x" + (source / PLAN).read_bytes()[1:])
        case "more":
            (source / "more").touch()
        case "less":
            (source / PLAN).unlink()
        case "link":
            (source / "more").symlink_to("/etc/hostname")
        case "no bundle":
            source = source / "engine"
        case "nothing":
            source = tmp_path / "gone"
        case "zip":
            source = tmp_path / "m.zip"
            pack(tmp_path / "m", source)
            source.write_bytes(source.read_bytes()[:-40])  # its directory is not whole
    assert refused(source, tmp_path / "r").code in (Code.DIGEST, Code.PATH, Code.MALFORMED)


def test_a_damaged_release_does_not_go_back(tmp_path: Path) -> None:
    from_bundle(bundle(tmp_path / "m"), tmp_path / "r", EDITION)
    (tmp_path / "r" / PLAN).write_text("other")
    with pytest.raises(Refusal):
        to_bundle(tmp_path / "r", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        from_bundle(bundle(tmp_path / "m"), tmp_path / "r", EDITION)
