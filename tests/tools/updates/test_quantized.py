"""Releases near the new one: measured before anything is written, and run by a device."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hwc.toolchain.bundle import GOLDEN, MODEL, Bundle, read_golden, seal, write_golden
from hwc.toolchain.engine import Engine
from onnx import numpy_helper

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Desk

USAGE, INPUT, OUTPUT, INTEGRITY = 2, 3, 7, 8
PACKAGE = ("package", "old.hwc", "new.hwc", "-o", "u.hwcu", "-q")
QUANTIZED = (*PACKAGE, "--strategy", "quantized")
MODELS = ("package", "model.onnx", "new.onnx", "-o", "u.hwcu", "-q", "--strategy", "quantized")
FIRST = ("--repo", "fleet", "--product", "door", "--trust", "fleet/metadata/1.root.json")


def said(desk: "Desk", *words: object) -> str:
    """What a command that does well prints."""
    ended = desk.hwc(*words)
    assert ended.code == 0, ended.err
    return ended.out


def with_weights(source: str, target: str, change: Callable[[str, Any], Any]) -> None:
    """The model with other weights."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        array = change(tensor.name, numpy_helper.to_array(tensor)).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, target)


def trained(source: str, target: str, much: float = 0.05) -> None:
    """The model after a little training, so to speak."""
    rng = np.random.default_rng(0)

    def change(_: str, array: Any) -> Any:  # noqa: ANN401 - numpy's arrays
        return array + much * array.std() * rng.standard_normal(array.shape)

    with_weights(source, target, change)


def bundled(model: str, target: str) -> None:
    """The compiled bundle, with these weights instead."""
    shutil.copytree("host.hwc", target)
    shutil.copyfile(model, f"{target}/{MODEL}")
    with Bundle.open(Path("host.hwc")) as bundle:
        seal(Path(target), bundle.manifest)


@pytest.fixture
def pair(desk: "Desk") -> "Desk":
    """The bundles old.hwc and new.hwc, and the models they are of."""
    trained("model.onnx", "new.onnx")
    bundled("model.onnx", "old.hwc")
    bundled("new.onnx", "new.hwc")
    return desk


@pytest.fixture
def fleet(pair: "Desk", monkeypatch: pytest.MonkeyPatch) -> "Desk":
    """A repository and a device that has old.hwc of it."""
    monkeypatch.setenv("HWC_PASSPHRASE", "correct horse")
    for words in (
        ("keys", "new", "--product", "door"),
        ("repo", "init", "fleet", "--product", "door"),
        ("publish", "old.hwc", "--repo", "fleet", "--version", "1.0", "-q"),
        ("update", "--root-dir", "dev", *FIRST, "-q"),
    ):
        said(pair, *words)
    return pair


def test_a_bundle_becomes_a_near_bundle(pair: "Desk") -> None:
    said(pair, *PACKAGE)
    exact = Path("u.hwcu").stat().st_size
    words = (*QUANTIZED, "--release", "near", "--force", "--json")
    found = json.loads(said(pair, *words))
    assert found["size"] == Path("u.hwcu").stat().st_size
    assert found["size"] < 0.5 * exact
    near = found["agreement"]
    assert (near["output"], near["measure"], near["inputs"]) == ("y", "cosine", "4 golden inputs")
    assert 0.97 < near["new"] < 1
    assert near["old"] < near["new"]
    with Bundle.open(Path("near")) as bundle, Bundle.open(Path("new.hwc")) as new:
        assert bundle.model.read_bytes() != new.model.read_bytes()
        assert bundle.golden()[0][1]["y"] == pytest.approx(new.golden()[0][1]["y"])
        report = bundle.report()
        assert new.report().golden is not None
        assert (report.golden, report.drop, report.compiled.quality) == (None, None, None)
        assert "hwc verify" in report.notes[-1]
    assert found["release"] in said(pair, "inspect", "u.hwcu", "--json")


def test_finer_steps_agree_more(pair: "Desk") -> None:
    figures = []
    for share in (0.1, 0.5, 1.0):
        words = (*QUANTIZED, "--force", "--json", "--share", share, "--min-agreement", "0")
        found = json.loads(said(pair, *words))
        figures.append((found["size"], 1 - found["agreement"]["new"]))
    assert figures == sorted(figures, key=lambda pair: (-pair[0], pair[1]))


@pytest.mark.parametrize(
    ("data", "measured"),
    [((), "(24 random inputs)"), (("--data", "data.npz"), "(24 samples of data.npz)")],
    ids=["random", "data"],
)
def test_models_are_measured_on_what_there_is(
    pair: "Desk", data: tuple[str, ...], measured: str
) -> None:
    text = said(pair, *MODELS, *data)
    assert "cosine agreement of y: 0.99" in text
    assert measured in text


def test_class_scores_are_counted(pair: "Desk") -> None:
    def peaked(name: str, array: Any) -> Any:  # noqa: ANN401 - numpy's arrays
        return array * (1000 if name == "w4" else 1)

    for name in ("model.onnx", "new.onnx"):
        with_weights(name, name, peaked)
    words = (*MODELS, "--data", "data.npz", "--json", "--min-agreement", "0")
    near = json.loads(said(pair, *words))["agreement"]
    assert near["measure"] == "top-1"
    assert 0 <= near["new"] * 24 == pytest.approx(round(near["new"] * 24))


def test_a_base_with_other_inputs_is_not_compared(pair: "Desk") -> None:
    model = onnx.load("model.onnx")
    model.graph.input[0].name = "picture"
    model.graph.node[0].input[0] = "picture"
    onnx.save(model, "old.onnx")
    words = ("package", "old.onnx", *MODELS[2:])
    assert "not comparable with the old one" in said(pair, *words)


def test_what_cannot_be_run_is_not_passed_over(pair: "Desk") -> None:
    for name in ("old", "new"):
        Path(name).mkdir()
        shutil.copyfile("new.onnx" if name == "new" else "model.onnx", f"{name}/m.bin")
    words = ("package", "old/m.bin", "new/m.bin", *MODELS[3:])
    line = pair.refuses(*words, code=INTEGRITY)
    assert all(word in line for word in ("HWC-U041", "has 0 ONNX models", "--min-agreement 0"))
    assert "agreement: not measured" in said(pair, *words, "--min-agreement", "0")


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (
            ("--share", "8", "--min-agreement", "1"),
            INTEGRITY,
            ["HWC-U041", "too far"],
        ),
        (("--share", "8", "--min-agreement", "1", "--release", "near"), INTEGRITY, ["too far"]),
        (("--data", "gone.npz"), INPUT, ["no such data: gone.npz"]),
        (("--release", "old.hwc", "--force"), OUTPUT, ["no folder of a release"]),
        (("--release", "host.hwc"), OUTPUT, ["exists already"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_refusals_write_nothing(
    pair: "Desk", words: tuple[str, ...], code: int, expected: list[str]
) -> None:
    line = pair.refuses(*QUANTIZED, *words, code=code)
    assert all(word in line for word in expected), line


def test_what_was_trained_must_not_get_lost(pair: "Desk") -> None:
    trained("model.onnx", "new.onnx", 0.002)
    line = pair.refuses(*MODELS, "--share", "16", code=INTEGRITY)
    assert "HWC-U041" in line
    assert "nearer to the old one" in line


@pytest.mark.parametrize(
    "words",
    [("--share", "0.4"), ("--min-agreement", "0.9"), ("--data", "data.npz"), ("--release", "near")],
    ids=" ".join,
)
def test_exact_updates_take_no_such_options(pair: "Desk", words: tuple[str, ...]) -> None:
    assert "--strategy quantized" in pair.refuses(*PACKAGE, *words, code=USAGE)


def test_an_engine_of_the_exact_weights(pair: "Desk") -> None:
    with Bundle.open(Path("new.hwc")) as bundle:
        Path("new.hwc/engine.plan").write_bytes(b"engine")
        engine = Engine(("engine.plan",), "tensorrt 10.1", "sm87")
        seal(Path("new.hwc"), replace(bundle.manifest, engine=engine))
    line = pair.refuses(*QUANTIZED, code=INTEGRITY)
    assert "engine.plan was built of the exact weights" in line


def test_what_every_device_would_refuse(pair: "Desk") -> None:
    path = Path("new.hwc", GOLDEN)
    wrong = tuple((feeds, {"y": -outputs["y"]}) for feeds, outputs in read_golden(path))
    path.unlink()
    write_golden(path, wrong)
    with Bundle.open(Path("old.hwc")) as bundle:
        seal(Path("new.hwc"), bundle.manifest)
    assert "golden outputs have cosine -0.9" in pair.refuses(*QUANTIZED, code=INTEGRITY)


@pytest.mark.parametrize("packaged", [False, True], ids=["publish --near", "package --release"])
def test_a_device_runs_a_near_release(fleet: "Desk", *, packaged: bool) -> None:
    source: tuple[str, ...] = ("new.hwc", "--near", "0.5")
    if packaged:
        said(fleet, *QUANTIZED, "--release", "near")
        source = ("near",)
    publish = ("publish", *source, "--repo", "fleet", "--from", "old.hwc", "--version", "2.0")
    text = said(fleet, *publish, "-q")
    assert packaged or "cosine agreement of y: 0.99" in text
    text = said(fleet, "update", "--root-dir", "dev", "-q")
    assert "updated: door v2.0 (seq 2) runs from slot B" in text
    assert "golden: cosine 0.99" in text
    said(fleet, *PACKAGE, "--force")
    deltas = [path.stat().st_size for path in Path("fleet/targets/deltas/door/2").iterdir()]
    assert min(deltas) < 0.5 * Path("u.hwcu").stat().st_size
    release = json.loads(Path("dev/current/bundle.json").read_text())
    assert "approximates" in release["provenance"]
    assert release["golden"]["path"] == GOLDEN
    with Bundle.open(Path("dev/current")) as bundle:
        assert bundle.model.read_bytes() != Path("new.onnx").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (("--near", "8", "--min-agreement", "1"), INTEGRITY, ["HWC-U041", "too far"]),
        (("--near", "0.5", "--deltas", "0"), INTEGRITY, ["HWC-U041", "no release before"]),
        (("--data", "data.npz"), USAGE, ["add --near"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_nothing_is_published(
    fleet: "Desk", words: tuple[str, ...], code: int, expected: list[str]
) -> None:
    line = fleet.refuses("publish", "new.hwc", "--repo", "fleet", *words, "-q", code=code)
    assert all(word in line for word in expected), line
