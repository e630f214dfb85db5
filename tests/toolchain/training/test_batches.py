"""Batches depend on seed and step alone, whatever the samples are held in."""

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hwc.toolchain.errors import InputError, UsageError
from hwc.toolchain.progress import Silent
from hwc.toolchain.training.augment import Augmentation
from hwc.toolchain.training.batches import Batches, held_out
from hwc.toolchain.training.hold import hold

Made = Callable[..., Any]
BOTH = Augmentation(flip=True, crop=2)


def test_one_round_has_every_sample_once(pictures: Made) -> None:
    batches = Batches.of(pictures(40), 8)
    seen = [part.indices for step in range(5) for part in batches.at(step)]
    assert sorted(np.concatenate(seen).tolist()) == list(range(40))
    assert batches.at(0)[0].indices.tolist() != batches.at(5)[0].indices.tolist()


@pytest.mark.parametrize("start", [0, 3])
def test_batches_are_those_of_their_step(start: int, pictures: Made) -> None:
    """Prefetching or beginning in the middle changes nothing, augmentation included."""
    batches = Batches.of(pictures(40), 8, augmentation=BOTH, seed=3)
    for step, (part,) in enumerate(islice(batches.since(start), 4), start):
        (again,) = Batches.of(pictures(40), 8, augmentation=BOTH, seed=3).at(step)
        np.testing.assert_array_equal(part.feeds["x"], again.feeds["x"])
    (other,) = Batches.of(pictures(40), 8, augmentation=BOTH, seed=4).at(start)
    assert not np.array_equal(other.feeds["x"], batches.at(start)[0].feeds["x"])


@pytest.mark.parametrize(
    ("limit", "raw", "kept", "error"),
    [
        (1 << 20, False, "in memory", 0),
        (1 << 20, True, "in memory", 0),
        (40 * 600, False, "float16", 2e-3),
        (100, False, "read again", 0),
    ],
    ids=["float32", "uint8", "float16", "again"],
)
def test_what_samples_are_held_in(
    limit: int,
    raw: bool,  # noqa: FBT001 - parametrised
    kept: str,
    error: float,
    pictures: Made,
) -> None:
    samples = pictures(40, raw=raw)
    held = hold(samples, progress=Silent(), limit=limit)
    assert kept in held.kept
    assert (held.feeds(3)["x"].dtype == np.uint8) == raw
    (part,) = Batches(held, 8).at(0)
    assert part.feeds["x"].dtype == np.float32
    wanted = np.concatenate([samples[int(index)].feeds["x"] for index in part.indices])
    np.testing.assert_allclose(part.feeds["x"], wanted, atol=error * 3)


def test_samples_that_cannot_run_together(pictures: Made) -> None:
    held = hold(pictures(40), progress=Silent())
    parts = Batches(held, 8, together=False).at(1)
    assert [part.feeds["x"].shape for part in parts] == [(1, 3, 8, 8)] * 8


def test_flips_and_crops() -> None:
    """Without padding nothing but flips; a crop moves a picture by at most its padding."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 1, 5, 5)).astype(np.float32)
    flipped = Augmentation(flip=True).apply(x, rng)
    mirrored = (flipped == x[..., ::-1]).all((1, 2, 3))
    same = (flipped == x).all((1, 2, 3))
    assert (mirrored ^ same).all()
    assert 16 < mirrored.sum() < 48
    cropped = Augmentation(crop=1).apply(x, rng)
    inside = x[:, 0, 2, 2]
    assert all(value in cropped[i, 0, 1:4, 1:4] for i, value in enumerate(inside))
    assert (cropped != x).any((1, 2, 3)).sum() > 32


@pytest.mark.parametrize("text", ["turn", "crop", "crop=x", "flip=2"])
def test_unknown_words(text: str) -> None:
    with pytest.raises(UsageError, match=text.split("=", maxsplit=1)[0]):
        Augmentation.parse(text)
    assert Augmentation.parse("flip crop=4") == Augmentation(flip=True, crop=4)


@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 3, 4, 4)], ids=["rank", "small"])
def test_what_is_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="input 'x' has shape"):
        Augmentation(crop=4).check("x", np.zeros(shape, np.float32))


def test_too_few_samples(pictures: Made) -> None:
    with pytest.raises(InputError, match="3 training samples are too few"):
        Batches.of(pictures(3), 8)


@pytest.mark.parametrize("label", [0.5, [1, 2]], ids=["float", "two"])
def test_labels_that_are_no_classes(label: object, pictures: Made) -> None:
    with pytest.raises(InputError, match="one integer label"):
        hold(pictures(40, labels=np.array([label] * 40)), progress=Silent())


def test_labels_of_some_samples(pictures: Made) -> None:
    some = [*pictures(20, labels=np.ones(20, int)), *pictures(20)]
    with pytest.raises(InputError, match="20 of 40 training samples have no label"):
        hold(some, progress=Silent())


def test_held_out_samples_are_others(pictures: Made) -> None:
    train, rest = held_out(pictures(100))
    assert len(rest) == 10
    assert not set(train.indices) & set(rest.indices)
