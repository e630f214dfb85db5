"""The way of a release from `hwc publish` to a device and back, by the commands themselves."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hwc.toolchain.update.refusal import Refusal
from hwc.toolchain.update.trust import oms
from onnx import numpy_helper

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Desk

INTEGRITY = 8
FIRST = ("--repo", "fleet", "--product", "door", "--trust", "fleet/metadata/1.root.json")


@pytest.fixture
def fleet(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> "Desk":
    """A repository in which release 1.0 is a compiled bundle."""
    monkeypatch.setenv("HWC_PASSPHRASE", "correct horse")
    for words in (
        ("keys", "new", "--product", "door"),
        ("repo", "init", "fleet", "--product", "door"),
        ("publish", "host.hwc", "--repo", "fleet", "--version", "1.0", "-q"),
    ):
        ended = desk.hwc(*words)
        assert ended.code == 0, ended.err
    return desk


def said(desk: "Desk", *words: object) -> str:
    """What a command that does well prints."""
    ended = desk.hwc(*words)
    assert ended.code == 0, ended.err
    return ended.out


def refused(desk: "Desk", *words: object) -> str:
    """The line of a command that a device refuses; what it knows of it may change."""
    ended = desk.hwc(*words)
    assert ended.code == INTEGRITY, ended
    assert ended.err.count("\n") == 1
    return ended.err


def changed(source: str, target: str, amount: float) -> None:
    """The model with weights that moved by a little."""
    model = onnx.load(source)
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            moved = array + amount * rng.standard_normal(array.shape)
            tensor.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), tensor.name))
    onnx.save(model, target)


def test_a_device_gets_a_release_and_runs_it(fleet: "Desk") -> None:
    text = said(fleet, "update", "--root-dir", "dev", *FIRST, "-q")
    assert "updated: door v1.0 (seq 1) runs from slot A" in text
    assert "golden: cosine 0.99" in text
    assert Path("dev/current/model.onnx").read_bytes() == Path("host.hwc/model.onnx").read_bytes()
    assert "nothing newer" in said(fleet, "update", "--root-dir", "dev", "-q")
    status = json.loads(said(fleet, "status", "--root-dir", "dev", "--json"))
    assert status["state"]["seq"] == 1
    assert "nothing was under way" in said(fleet, "recover", "--root-dir", "dev")


def test_a_release_that_fails_its_trial_leaves_the_old_one(fleet: "Desk") -> None:
    said(fleet, "update", "--root-dir", "dev", *FIRST, "-q")
    said(fleet, "publish", "model.onnx", "--repo", "fleet", "--version", "2.0", "-q")
    line = refused(fleet, "update", "--root-dir", "dev", "-q")
    assert "HWC-U033" in line
    assert "kept v1.0, slot A" in line
    line = refused(fleet, "update", "--root-dir", "dev", "-q")
    assert "failed on this device before" in line
    assert Path("dev/current/manifest.json").is_file()


def test_there_and_back(fleet: "Desk") -> None:
    said(fleet, "update", "--root-dir", "dev", *FIRST, "--health", "none", "-q")
    changed("model.onnx", "new.onnx", 1e-4)
    for model, version in (("model.onnx", "2.0"), ("new.onnx", "3.0")):
        said(fleet, "publish", model, "--repo", "fleet", "--version", version, "-q")
        assert f"v{version}" in said(fleet, "update", "--root-dir", "dev", "-q")
    assert Path("dev/current/new.onnx").read_bytes() == Path("new.onnx").read_bytes()
    assert "v2.0 runs from slot B" in said(fleet, "rollback", "--root-dir", "dev")
    assert Path("dev/current/model.onnx").read_bytes() == Path("model.onnx").read_bytes()
    line = refused(fleet, "update", "--root-dir", "dev", "-q")
    assert "gone back from" in line
    assert "v3.0" in said(fleet, "update", "--root-dir", "dev", "--again", "-q")


def test_only_a_share_of_the_fleet(fleet: "Desk") -> None:
    said(fleet, "repo", "rollout", "door", "--repo", "fleet", "--share", "0")
    text = said(fleet, "update", "--root-dir", "dev", *FIRST, "-q")
    assert "not this device's turn" in text
    said(fleet, "repo", "rollout", "door", "--repo", "fleet", "--share", "100")
    assert "updated" in said(fleet, "update", "--root-dir", "dev", "-q")


def test_an_offline_repository(fleet: "Desk") -> None:
    said(fleet, "repo", "export", "stick", "--repo", "fleet")
    first = ("--repo", "stick", "--product", "door", "--trust", "stick/metadata/1.root.json")
    assert "updated" in said(fleet, "update", "--root-dir", "dev", *first, "-q")


def test_package_and_inspect(fleet: "Desk") -> None:
    changed("model.onnx", "new.onnx", 1e-5)
    text = said(fleet, "package", "model.onnx", "new.onnx", "-o", "u.hwcu", "-q")
    assert text.startswith("u.hwcu: hash")
    found = json.loads(said(fleet, "inspect", "u.hwcu", "--base", "model.onnx", "--json"))
    assert found["contents"]["size"] == Path("u.hwcu").stat().st_size
    assert {change["changed"] > 0 for change in found["changes"]} == {True}
    assert "a full update" in said(fleet, "inspect", *_full())


def _full() -> tuple[str, ...]:
    return (str(next(Path("fleet/targets/deltas/door/1").glob("*.hwcu"))),)


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("update", "--root-dir", "dev"), INTEGRITY, ["HWC-U035", "not set up"]),
        (("update", "--root-dir", "dev", *FIRST[:4]), INTEGRITY, ["not set up"]),
        (("update", "--root-dir", "dev", *FIRST[:5], "gone"), INTEGRITY, ["HWC-U040", "gone"]),
        (("status", "--root-dir", "dev"), INTEGRITY, ["not set up"]),
        (("rollback", "--root-dir", "dev"), INTEGRITY, ["not set up"]),
        (("inspect", "model.onnx"), INTEGRITY, ["model.onnx"]),
        (("inspect", "gone.hwcu"), INTEGRITY, ["gone.hwcu"]),
        (("keys", "new", "root-1"), INTEGRITY, ["HWC-U040", "there is such a key"]),
        (("repo", "init", "fleet", "--product", "door"), INTEGRITY, ["there is a repository"]),
        (("repo", "init", "f2", "--product", "../x"), INTEGRITY, ["HWC-U003"]),
        (
            ("publish", "host.hwc", "--repo", "fleet", "--seq", "1", "-q"),
            INTEGRITY,
            ["HWC-U012", "has release 1"],
        ),
        (
            ("publish", "host.hwc", "--repo", "fleet", "--from", "model.onnx", "-q"),
            INTEGRITY,
            ["HWC-U005", "no published release"],
        ),
        (("repo", "sign", "--repo", "fleet"), INTEGRITY, ["nothing waits"]),
        (("publish", "gone.hwc", "--repo", "fleet", "-q"), INTEGRITY, ["gone.hwc"]),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_refusals_in_one_line(
    fleet: "Desk", words: tuple[str, ...], code: int, expected: list[str]
) -> None:
    line = fleet.refuses(*words, code=code)
    assert all(word in line for word in expected), line


def test_a_wrong_passphrase_signs_nothing(fleet: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    before = fleet.snapshot()
    monkeypatch.setenv("HWC_PASSPHRASE", "wrong horse")
    line = fleet.refuses("repo", "touch", "--repo", "fleet", code=INTEGRITY)
    assert "does not open" in line
    assert "wrong horse" not in line
    assert fleet.snapshot() == before


def test_a_model_signature_beside_a_release(fleet: "Desk") -> None:
    pytest.importorskip("model_signing", reason="the extra signing is not installed")
    said(fleet, "keys", "model", "release")
    key = ("--model-key", "keys/release.pem")
    said(fleet, "publish", "host.hwc", "--repo", "fleet", "--version", "1.1", *key, "-q")
    said(fleet, "update", "--root-dir", "dev", *FIRST, "-q")
    signature, public = Path("fleet/signatures/door-2.sig"), Path("keys/release.pub.pem")
    oms.verify(Path("dev/current").resolve(), signature, key=public)
    with (Path("dev/current") / "plan.json").open("ab") as file:
        file.write(b" ")
    with pytest.raises(Refusal, match=r"plan\.json"):
        oms.verify(Path("dev/current").resolve(), signature, key=public)
