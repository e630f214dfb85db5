"""A quantized update leads near the new release, by whole steps, and to what it says exactly."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hwc.toolchain.update.content.describe import describe, write_release
from hwc.toolchain.update.delta.change import changes
from hwc.toolchain.update.delta.file import UpdateFile
from hwc.toolchain.update.delta.files import Folder
from hwc.toolchain.update.delta.header import Strategy
from hwc.toolchain.update.delta.make import Options
from hwc.toolchain.update.delta.quantize import PROVENANCE, approximate
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Compatibility, Release

if TYPE_CHECKING:
    from hwc.tests.toolchain.update.delta.conftest import Bench

COUNT = 20_000
AWKWARD = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-40, -1e-40, 3e38, 6e4, -6e4, 1e-7]


def released(folder: Path, seq: int, **weights: np.ndarray) -> Path:
    """A release of a model that is its weights."""
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors))
    folder.mkdir()
    onnx.save(model, folder / "m.onnx")
    release = describe(
        folder,
        product="p",
        version=str(seq),
        seq=seq,
        sec_epoch=0,
        compatibility=Compatibility(),
        golden=None,
        provenance={},
    )
    write_release(folder, release)
    return folder


def read(folder: Path) -> dict[str, np.ndarray]:
    model = onnx.load(folder / "m.onnx")
    return {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}


def pair(bench: "Bench", kind: str = "<f4") -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    old = rng.normal(size=COUNT).astype(kind)
    new = (old + rng.normal(size=COUNT) * 0.01).astype(kind)
    rest = np.arange(COUNT, dtype="<i4")
    older = released(bench.root / "old", 1, w=old, same=old[::-1].copy(), rest=rest)
    newer = released(bench.root / "new", 2, w=new, same=old[::-1].copy(), rest=rest + 1)
    return older, newer


@pytest.mark.parametrize(("kind", "most"), [("<f4", 0.35), ("<f2", 0.6)], ids=["fp32", "fp16"])
def test_it_leads_to_the_release_that_it_says(bench: "Bench", kind: str, most: float) -> None:
    old, new = pair(bench, kind)
    exact = bench.update(old, new, Options(Strategy.HASH)).size
    made = bench.update(old, new, Options(Strategy.QUANTIZED))
    assert made.size < most * exact
    out = bench.applied(made.path, old)
    release = Release.parse((out / "bundle.json").read_bytes())
    assert release == made.release
    with Folder(new) as newer:
        assert release.digest != newer.release.digest
        assert release.provenance[PROVENANCE] == newer.release.digest
    with UpdateFile.open(made.path) as update:
        assert update.header.strategy is Strategy.QUANTIZED


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_no_weight_is_further_than_a_step(bench: "Bench", share: float) -> None:
    old, new = pair(bench)
    near = bench.root / "near"
    near.mkdir()
    with Folder(old) as older, Folder(new) as newer:
        approximate(newer, older, near, share)
    found, wanted, before = read(near), read(new), read(old)
    rms = np.sqrt(np.square(wanted["w"] - before["w"]).mean())
    assert np.abs(found["w"] - wanted["w"]).max() <= share * rms
    assert (found["same"] == wanted["same"]).all()
    assert (found["rest"] == wanted["rest"]).all()


def test_a_near_release_is_taken_as_it_is(bench: "Bench") -> None:
    old, new = pair(bench)
    near = bench.root / "near"
    near.mkdir()
    with Folder(old) as older, Folder(new) as newer:
        release = approximate(newer, older, near, 0.3)
    made = bench.update(old, near, Options(Strategy.QUANTIZED))
    assert made.release == release
    out = bench.applied(made.path, old)
    assert (out / "m.onnx").read_bytes() == (near / "m.onnx").read_bytes()


def test_finer_steps_are_nearer_and_cost_more(bench: "Bench") -> None:
    old, new = pair(bench)
    sizes, errors = [], []
    for share in (0.125, 0.5, 2.0):
        made = bench.update(old, new, Options(Strategy.QUANTIZED, share=share))
        sizes.append(made.size)
        with Folder(bench.applied(made.path, old)) as near, Folder(new) as newer:
            errors.append(max(change.relative or 0 for change in changes(near, newer)))
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)


@pytest.mark.parametrize("kind", ["<f4", "<f2"])
def test_awkward_numbers_stay_what_they_are(bench: "Bench", kind: str) -> None:
    rng = np.random.default_rng(0)
    with np.errstate(over="ignore"):
        some = np.array(AWKWARD).astype(kind)
    old = np.concatenate((some, rng.normal(size=500).astype(kind), some[::-1]))
    new = np.concatenate((some, (old[len(some) : -len(some)] * 1.01).astype(kind), some))
    older = released(bench.root / "old", 1, w=old)
    newer = released(bench.root / "new", 2, w=new)
    made = bench.update(older, newer, Options(Strategy.QUANTIZED))
    found = read(bench.applied(made.path, older))["w"]
    assert found[: len(some)].tobytes() == some.tobytes()
    finite = np.isfinite(new)
    assert (np.isfinite(found) == finite).all()
    assert (np.isnan(found) == np.isnan(new)).all()


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan")])
def test_steps_of_nothing_are_refused(bench: "Bench", share: float) -> None:
    old, new = pair(bench)
    with pytest.raises(Refusal) as refusal:
        bench.update(old, new, Options(Strategy.QUANTIZED, share=share))
    assert refusal.value.code is Code.STRATEGY
