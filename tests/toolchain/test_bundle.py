"""A bundle is whole, says what it holds, and any change of it is found."""

import hashlib
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.archive import Limits, pack
from hwc.toolchain.bundle import (
    DIGEST,
    GOLDEN,
    MANIFEST,
    MODEL,
    PLAN,
    REPORT,
    Bundle,
    Manifest,
    Source,
    check_target,
    read_golden,
    read_manifest,
    seal,
    staged,
    write_golden,
)
from hwc.toolchain.device import Confidence, DeviceProfile, Figure
from hwc.toolchain.engine import Check, Engine, Status
from hwc.toolchain.errors import InputError, IntegrityError, OutputError
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.report import Measured, Report
from hwc.toolchain.update.release import RELEASE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIGURE = Figure(1.5, "a test", Confidence.LOW)
PROFILE = DeviceProfile(
    name="host",
    title="a test's host",
    backend="ort",
    target="x86_64",
    units=2,
    opset_max=23,
    peak={Precision.FP32: FIGURE, Precision.INT8: FIGURE},
    bandwidth=FIGURE,
    cache=FIGURE,
    memory=FIGURE,
    launch=FIGURE,
)
FACTS = Manifest(
    backend="ort",
    profile=PROFILE,
    engine=Engine((MODEL,), "onnxruntime 1", "x86_64", {"spinning": "off"}),
    build_commands=("make engine",),
    versions={"hwc": "0.1.0"},
    sources=(Source("model", "gone.onnx", 3, "0" * 64),),
    checks=(Check("loads", Status.PASSED, ""), Check("runs", Status.OWED, "needs it")),
    original_options={"layout": "plain"},
)
PLAN_ = Plan.of({"conv": NodeChoice(Precision.INT8)})
REPORT_ = Report("m.onnx", "host", "ort", Measured(10), Measured(5))


def write(folder: Path) -> None:
    (folder / MODEL).write_bytes(b"not really a model")
    (folder / PLAN).write_text(PLAN_.to_json())
    (folder / REPORT).write_text(REPORT_.to_json())
    (folder / "engine").mkdir()
    (folder / "engine" / "a.plan").write_bytes(bytes(100))
    write_golden(folder / GOLDEN, (({"x": np.ones(2)}, {"y": np.zeros(3)}),))
    seal(folder, FACTS)


def make(path: Path, *, archive: bool = False, error: BaseException | None = None) -> Path:
    with staged(path, archive=archive) as folder:
        write(folder)
        if error is not None:
            raise error
    return path


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("archive", [False, True], ids=["folder", "zip"])
def test_round_trip(tmp_path: Path, *, archive: bool) -> None:
    path = make(tmp_path / "m.hwc", archive=archive)
    assert listing(tmp_path) == ["m.hwc"]
    assert path.is_file() is archive
    with Bundle.open(path) as bundle:
        assert bundle.plan() == PLAN_
        assert bundle.report() == REPORT_
        assert replace(bundle.manifest, files=()) == FACTS
        assert bundle.manifest.owed == FACTS.checks[1:]
        assert [file.path for file in bundle.manifest.files] == sorted(
            (MODEL, PLAN, REPORT, GOLDEN, "engine/a.plan")
        )
        ((feeds, outputs),) = bundle.golden()
        assert (feeds["x"].tolist(), outputs["y"].tolist()) == ([1, 1], [0, 0, 0])
        assert bundle.size == sum(
            p.stat().st_size for p in bundle.folder.rglob("*") if p.is_file()
        ) - sum((bundle.folder / name).stat().st_size for name in (MANIFEST, DIGEST))
        folder = bundle.folder
    assert folder.exists() is not archive  # what a zip was unpacked to is gone


def test_the_manifest_is_canonical_and_checked_by_the_common_tool(tmp_path: Path) -> None:
    path = make(tmp_path / "m.hwc")
    text = (path / MANIFEST).read_text()
    assert text == json.dumps(
        json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    digest, name = (path / DIGEST).read_text().split()
    assert (len(digest), name) == (64, MANIFEST)


def test_a_bundle_from_before_sessions_were_tuned(tmp_path: Path) -> None:
    path = make(tmp_path / "m.hwc")
    manifest = json.loads((path / MANIFEST).read_text())
    del manifest["original_options"], manifest["engine"]["options"]
    text = json.dumps(manifest).encode()
    (path / MANIFEST).write_bytes(text)
    (path / DIGEST).write_text(f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n")
    with Bundle.open(path) as bundle:
        assert bundle.manifest.original_options == {}
        assert bundle.manifest.engine is not None
        assert bundle.manifest.engine.options is None


def test_golden_keeps_order_and_any_name(tmp_path: Path) -> None:
    pairs = tuple(
        ({"a<b>/c": np.full(1, i)}, {"file": np.full(2, i), "3>": np.full(1, -i)})
        for i in range(12)
    )
    write_golden(tmp_path / "g.npz", pairs)
    read = read_golden(tmp_path / "g.npz")
    assert [int(feeds["a<b>/c"][0]) for feeds, _ in read] == list(range(12))
    assert all(set(outputs) == {"file", "3>"} for _, outputs in read)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_flipped_bit_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "m.hwc"
    if not path.exists():
        make(path)
    name = data.draw(st.sampled_from([MODEL, PLAN, REPORT, GOLDEN, MANIFEST, DIGEST]))
    content = (path / name).read_bytes()
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        (path / name).write_bytes(changed)
        with pytest.raises(IntegrityError, match=MANIFEST if "manifest" in name else name):
            Bundle.open(path)
    finally:
        (path / name).write_bytes(content)


def remove(path: Path) -> None:
    (path / PLAN).unlink()


def add(path: Path) -> None:
    (path / "engine" / "more").write_text("x")


def truncate(path: Path) -> None:
    (path / MODEL).write_bytes((path / MODEL).read_bytes()[:-1])


def link(path: Path) -> None:
    shutil.move(path / MODEL, path.parent / "elsewhere")
    (path / MODEL).symlink_to(path.parent / "elsewhere")


def link_folder(path: Path) -> None:
    shutil.move(path / "engine", path.parent / "elsewhere")
    (path / "engine").symlink_to(path.parent / "elsewhere")


def pipe(path: Path) -> None:
    (path / MODEL).unlink()
    os.mkfifo(path / MODEL)


def no_manifest(path: Path) -> None:
    (path / MANIFEST).unlink()


def no_digest(path: Path) -> None:
    (path / DIGEST).unlink()


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (remove, "plan.json is missing"),
        (add, "engine/more is not in the manifest"),
        (truncate, "model.onnx does not have its size"),
        (link, "model.onnx is a link"),
        (link_folder, "engine is a link"),
        (pipe, "model.onnx is a link or a special file"),
        (no_manifest, "has no manifest.json"),
        (no_digest, "has no manifest.sha256"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_attack(tmp_path: Path, attack: object, message: str) -> None:
    path = make(tmp_path / "m.hwc")
    assert callable(attack)
    attack(path)
    with pytest.raises(IntegrityError, match=message):
        Bundle.open(path)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a\\b"])
def test_a_forged_manifest_cannot_name_files_outside(tmp_path: Path, path: str) -> None:
    bundle = make(tmp_path / "m.hwc")
    forge(bundle, path)
    with pytest.raises(IntegrityError, match="is not allowed"):
        Bundle.open(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2, not 1"),
        ({"extra": 1}, "unknown key 'extra'"),
        ({"backend": 3}, "backend is 3"),
    ],
    ids=["format", "unknown key", "type"],
)
def test_a_manifest_of_another_kind(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    bundle = make(tmp_path / "m.hwc")
    forge(bundle, None, **change)
    with pytest.raises(IntegrityError, match=message):
        Bundle.open(bundle)


def test_the_same_file_twice(tmp_path: Path) -> None:
    bundle = make(tmp_path / "m.hwc")
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    forge(bundle, None, files=[files[0], *files])
    with pytest.raises(IntegrityError, match="lists a file twice"):
        Bundle.open(bundle)


@pytest.mark.parametrize(
    ("limits", "message"),
    [(Limits(manifest_bytes=10), "over 10 B"), (Limits(files=2), "over 2 files")],
    ids=["manifest", "files"],
)
def test_limits(tmp_path: Path, limits: Limits, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        read_manifest(make(tmp_path / "m.hwc"), limits)


def test_a_changed_file_within_a_zip(tmp_path: Path) -> None:
    folder = make(tmp_path / "m.hwc")
    (folder / MODEL).write_bytes(b"not really a nodel")
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        Bundle.open(tmp_path / "m.zip")


def test_no_such_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such bundle"):
        Bundle.open(tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b"not a zip"], ids=["empty", "text"])
def test_a_file_that_is_no_zip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(IntegrityError, match="is not a bundle"):
        Bundle.open(tmp_path / "x")


@pytest.mark.parametrize("archive", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(
    tmp_path: Path, error: type[BaseException], *, archive: bool
) -> None:
    with pytest.raises(error):
        make(tmp_path / "m.hwc", archive=archive, error=error())
    assert listing(tmp_path) == []


@pytest.mark.parametrize("archive", [False, True], ids=["folder", "zip"])
def test_force_replaces_a_bundle(tmp_path: Path, *, archive: bool) -> None:
    path = make(tmp_path / "m.hwc")
    (path / "junk").write_text("x")
    with pytest.raises(OutputError, match="exists already"):
        make(path)
    with staged(path, force=True, archive=archive) as folder:
        write(folder)
    with Bundle.open(path):
        pass
    assert listing(tmp_path) == ["m.hwc"]


def test_not_even_force_replaces_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="is a folder but not a bundle"):
        check_target(tmp_path / "home", force=True)


def test_not_even_force_replaces_a_file_that_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"months of training")
    np.savez(tmp_path / "x.npz", x=np.zeros(2))  # a zip, but not ours
    for name in ("m.onnx", "x.npz"):
        with pytest.raises(OutputError, match="is a file but not a bundle"):
            check_target(tmp_path / name, force=True)


def test_finds_the_original_only_while_it_is_the_same(tmp_path: Path) -> None:
    model, data = tmp_path / "m.onnx", tmp_path / "m.data"
    model.write_bytes(b"model")
    data.write_bytes(b"data")
    sources = (Source.of_file(model), Source.of_file(data, "data"))
    with staged(tmp_path / "m.hwc") as folder:
        write(folder)
        seal(folder, replace(FACTS, sources=sources))
    with Bundle.open(tmp_path / "m.hwc") as bundle:
        assert bundle.original() == model
        data.write_bytes(b"DATA")
        assert bundle.original() is None
        data.unlink()
        assert bundle.original() is None


def test_a_model_that_was_a_function_has_no_file(tmp_path: Path) -> None:
    with staged(tmp_path / "m.hwc") as folder:
        write(folder)
        seal(folder, replace(FACTS, sources=(Source("model", "package.models:build"),)))
    with Bundle.open(tmp_path / "m.hwc") as bundle:
        assert bundle.original() is None


def forge(bundle: Path, path: str | None, /, **change: object) -> None:
    """Rewrite the manifest and its digest as one who has the whole bundle in hand."""
    manifest = json.loads((bundle / MANIFEST).read_text()) | change
    if path is not None:
        manifest["files"][0]["path"] = path
    text = json.dumps(manifest).encode()
    (bundle / MANIFEST).write_bytes(text)
    (bundle / DIGEST).write_text(f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n")


@pytest.mark.parametrize("archive", [False, True], ids=["folder", "zip"])
def test_a_release_is_still_a_bundle(tmp_path: Path, *, archive: bool) -> None:
    path = make(tmp_path / "m.hwc")
    (path / RELEASE).write_text("{}")
    if archive:
        pack(path, tmp_path / "m.zip")
        path = tmp_path / "m.zip"
    with Bundle.open(path) as bundle:
        assert RELEASE not in {file.path for file in bundle.manifest.files}


@pytest.mark.parametrize("name", ["bundle.jsonl", f"engine/{RELEASE}"])
def test_nothing_else_may_be_there(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "m.hwc")
    (path / name).write_text("{}")
    with pytest.raises(IntegrityError, match="is not in the manifest"):
        Bundle.open(path)


def test_bundle_json_may_not_be_a_link(tmp_path: Path) -> None:
    path = make(tmp_path / "m.hwc")
    (path / RELEASE).symlink_to(path / MANIFEST)
    with pytest.raises(IntegrityError, match="a link or a special file"):
        Bundle.open(path)


def test_a_bundle_sealed_again_is_no_release_any_more(tmp_path: Path) -> None:
    path = make(tmp_path / "m.hwc")
    (path / RELEASE).write_text("{}")
    seal(path, FACTS)
    assert not (path / RELEASE).exists()
    Bundle.open(path).close()
