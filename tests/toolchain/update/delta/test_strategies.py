"""Each strategy makes what it promises, or says why it cannot."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hwc.toolchain.update.delta.file import UpdateFile
from hwc.toolchain.update.delta.header import Strategy
from hwc.toolchain.update.delta.make import Options
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Dtype

if TYPE_CHECKING:
    from hwc.tests.toolchain.update.delta.conftest import Bench

LAYERS = ("stem.weight", "body.weight", "body.bias", "head.weight")


def weights(seed: int, count: int = 5000) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count).astype("<f4")


def model(bench: "Bench", name: str, *changed: str, seq: int = 1) -> Path:
    """A release of four layers, some of which have other weights than in the first."""
    parts = [
        (layer, Dtype.F32, weights(k + 100 * (layer in changed)).tobytes())
        for k, layer in enumerate(LAYERS)
    ]
    return bench.release(name, {"m.onnx": [b"graph", *parts]}, seq)


@pytest.mark.parametrize(
    "named",
    [("body.weight", "body.bias"), ("body",), ("body.*",), ("*",), ("stem", "body")],
    ids=str,
)
def test_incremental_sends_the_layers_that_were_named(
    bench: "Bench", named: tuple[str, ...]
) -> None:
    old, new = model(bench, "old"), model(bench, "new", "body.weight", "body.bias", seq=2)
    made = bench.update(old, new, Options(Strategy.INCREMENTAL, named))
    assert made.size < 2.5 * 4 * 5000
    assert bench.contents(bench.applied(made.path, old)) == bench.contents(new)


def test_incremental_names_the_layer_that_was_not_named(bench: "Bench") -> None:
    old, new = model(bench, "old"), model(bench, "new", "body.bias", "head.weight", seq=2)
    with pytest.raises(Refusal, match=r"head\.weight changed, named was body") as refusal:
        bench.update(old, new, Options(Strategy.INCREMENTAL, ("body",)))
    assert refusal.value.code is Code.STRATEGY
    assert not (bench.root / "update.hwcu").exists()


def test_incremental_asks_for_layers(bench: "Bench") -> None:
    with pytest.raises(Refusal, match="names of the layers") as refusal:
        bench.update(model(bench, "old"), model(bench, "new"), Options(Strategy.INCREMENTAL))
    assert refusal.value.code is Code.STRATEGY


@pytest.mark.parametrize("strategy", [Strategy.INCREMENTAL, Strategy.HASH, Strategy.QUANTIZED])
def test_a_delta_needs_a_base(bench: "Bench", strategy: Strategy) -> None:
    with pytest.raises(Refusal, match="needs the release") as refusal:
        bench.update(None, model(bench, "new"), Options(strategy, ("*",)))
    assert refusal.value.code is Code.STRATEGY


def test_auto_takes_a_delta_where_little_changed(bench: "Bench") -> None:
    old, new = model(bench, "old"), model(bench, "new", "head.weight", seq=2)
    made = bench.update(old, new)
    assert made.strategy is Strategy.HASH
    assert made.base != ""
    assert "% of the release's" in made.why


def test_auto_takes_full_where_everything_was_trained_again(bench: "Bench") -> None:
    old, new = model(bench, "old"), model(bench, "new", *LAYERS, seq=2)
    full = bench.update(old, new, Options(Strategy.FULL))
    made = bench.update(old, new)
    assert made.strategy is Strategy.FULL
    assert made.base == ""
    assert "needs no base" in made.why
    assert made.size == full.size
    assert bench.contents(bench.applied(made.path, None)) == bench.contents(new)


@pytest.mark.parametrize("changed", [(), LAYERS[:1], LAYERS[1:3], LAYERS[:3], LAYERS], ids=len)
def test_auto_is_never_larger_than_full(bench: "Bench", changed: tuple[str, ...]) -> None:
    old, new = model(bench, "old"), model(bench, "new", *changed, seq=2)
    sizes = {
        strategy: bench.update(old, new, Options(strategy)).size
        for strategy in (Strategy.FULL, Strategy.HASH, Strategy.AUTO)
    }
    assert sizes[Strategy.AUTO] <= min(sizes.values()) + 1024


def test_auto_without_a_base_is_full(bench: "Bench") -> None:
    made = bench.update(None, model(bench, "new"))
    assert made.strategy is Strategy.FULL
    assert "no base" in made.why


def test_the_same_release_again_is_the_same_update(bench: "Bench") -> None:
    old, new = model(bench, "old"), model(bench, "new", "head.weight", seq=2)
    first = bench.update(old, new).path.read_bytes()
    assert bench.update(old, new).path.read_bytes() == first


def test_an_update_says_how_it_was_made(bench: "Bench") -> None:
    old, new = model(bench, "old"), model(bench, "new", "head.weight", seq=2)
    for strategy in (Strategy.FULL, Strategy.HASH):
        made = bench.update(old, new, Options(strategy))
        with UpdateFile.open(made.path) as update:
            assert update.header.strategy is strategy
            assert update.header.release == made.release.digest
            assert update.header.base == made.base


@pytest.mark.parametrize("which", ["old", "new"])
def test_a_release_that_is_not_what_it_says_is_refused(bench: "Bench", which: str) -> None:
    old, new = model(bench, "old"), model(bench, "new", "head.weight", seq=2)
    damaged = bench.root / which / "m.onnx"
    data = bytearray(damaged.read_bytes())
    data[7000] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(Refusal, match="SHA-256") as refusal:
        bench.update(old, new)
    assert refusal.value.code is Code.DIGEST
