"""Training: what is lost comes back, a run goes on where it stopped, and nothing gets worse."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.progress import Silent
from hwc.toolchain.training import trainer
from hwc.toolchain.training.curve import Stop, Trained
from hwc.toolchain.training.recipe import Optimizer, Precision, Recipe, Unfreeze
from hwc.toolchain.training.schedule import Gradual
from hwc.toolchain.training.student import Student
from hwc.toolchain.training.task import Task
from hwc.toolchain.training.trainer import Limits, train
from hwc.toolchain.training.update import Shaping, Updater

Made = Callable[..., Any]
RECIPE = Recipe(steps=30, batch=32, lr=0.05, precision=Precision.FLOAT32)


def _smallest(weights: Any, share: float) -> dict[str, np.ndarray]:  # noqa: ANN401 - by name
    """Masks of the smallest numbers of one weight."""
    size = np.abs(weights["w2"])
    return {"w2": (size > np.quantile(size, share)).astype(np.float32)}


@pytest.fixture
def begin(
    network: ir.Model, pictures: Made, make_runner: Made, disturb: Made
) -> Callable[..., Task]:
    """A disturbed student of the network, new each time."""

    def begun(recipe: Recipe, samples: Any = None, features: tuple[str, ...] = ()) -> Task:  # noqa: ANN401
        samples = samples or pictures(160)
        teacher = Student.of(network, samples, make_runner, features=features)
        student = Student.of(
            disturb(network), samples, make_runner, features=features, norms=recipe.norms
        )
        return Task.of(student, teacher, samples, recipe=recipe)

    return begun


def fall(trained: Trained) -> float:
    """The loss on held-out samples of what was kept, over that of the beginning."""
    losses = [point.validation for point in trained.curve if point.validation is not None]
    return min(losses) / losses[0]


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, norms=False, lr=0.01),
        replace(RECIPE, optimizer=Optimizer.ADAMW, lr=0.01, ema=0.9),
        replace(RECIPE, precision=Precision.BFLOAT16),
        replace(RECIPE, augment="flip crop=1"),
    ],
    ids=["norms", "plain", "adamw-ema", "bfloat16", "augmented"],
)
def test_distillation(
    recipe: Recipe, begin: Made, make_runner: Made, pictures: Made, network: ir.Model
) -> None:
    """A student comes nearer to its teacher, and so does the graph that is written."""
    task = begin(recipe)
    feeds = pictures()[60].feeds
    wanted = make_runner(network)(feeds)["y"]
    before = np.abs(make_runner(task.student.model)(feeds)["y"] - wanted).mean()
    trained = train(task, recipe)
    assert trained.stop is Stop.STEPS
    assert fall(trained) < 0.5
    written = task.student.to_model(pictures(), make_runner)
    assert np.abs(make_runner(written)(feeds)["y"] - wanted).mean() < before


def test_labels_and_features(
    begin: Made, pictures: Made, network: ir.Model, make_runner: Made
) -> None:
    """Both losses at once; the share that is right is told."""
    plain, run = pictures(160), make_runner(network)
    labels = np.array([run(plain[index].feeds)["y"].argmax() for index in range(160)])
    recipe = replace(RECIPE, alpha=0.5, features=1.0)
    task = begin(recipe, pictures(160, labels=labels), ("s",))
    assert task.loss.features == ("s",)
    trained = train(task, recipe)
    assert fall(trained) < 0.6
    assert trained.curve[-1].accuracy is not None
    assert trained.curve[-1].accuracy > (trained.curve[0].accuracy or 0)


@contextmanager
def _interrupting(count: int) -> Iterator[Callable[[], None]]:
    left = iter(range(count))

    def tick() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    yield tick


class Interrupting(Silent):
    """Ctrl-C after some updates."""

    def __init__(self, count: int) -> None:
        self.count = count

    def stage(self, name: str, total: int | None = None) -> Any:  # noqa: ANN401, ARG002 - a context
        """Count."""
        return _interrupting(self.count)


@pytest.mark.parametrize(
    ("changes", "gradual"),
    [
        ({"augment": "flip"}, None),
        ({"precision": Precision.BFLOAT16}, None),
        ({"optimizer": Optimizer.ADAMW, "ema": 0.9, "unfreeze": Unfreeze.HEAD}, None),
        ({}, Gradual(_smallest, final=0.6, end=0.9, rise=0.2)),
    ],
    ids=["sgd", "bfloat16", "adamw-ema-head", "masks"],
)
def test_a_run_goes_on(
    changes: dict[str, Any],
    gradual: Gradual | None,
    begin: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After Ctrl-C it ends in the very weights of a run that nobody interrupted."""
    recipe, shaping = replace(RECIPE, lr=0.01, **changes), Shaping(gradual=gradual)
    whole = begin(recipe)
    wanted = train(whole, recipe, shaping=shaping)
    monkeypatch.setattr(trainer, "_SAVE_EVERY", 0.0)
    limits = Limits(checkpoint=tmp_path / "state.safetensors")
    with pytest.raises(KeyboardInterrupt):
        train(begin(recipe), recipe, shaping=shaping, limits=limits, progress=Interrupting(13))
    rest = begin(recipe)
    got = train(rest, recipe, shaping=shaping, limits=limits)
    assert [p.validation for p in got.curve] == [p.validation for p in wanted.curve]
    assert got.kept == wanted.kept
    for name, array in whole.student.weights().items():
        np.testing.assert_array_equal(rest.student.weights()[name], array)


def test_another_run_begins_anew(begin: Made, tmp_path: Path) -> None:
    limits = Limits(checkpoint=tmp_path / "state.safetensors")
    short = replace(RECIPE, steps=3)
    train(begin(short), short, limits=limits)
    assert train(begin(short), short, limits=limits).steps == 3
    other = replace(short, steps=4)
    assert train(begin(other), other, limits=limits).curve[0].step == 0


def test_a_damaged_checkpoint(begin: Made, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"\x10" + bytes(30))
    with pytest.raises(InputError, match="cannot be read") as caught:
        train(begin(RECIPE), RECIPE, limits=Limits(checkpoint=path))
    assert "remove" in caught.value.hint


def test_a_loss_that_is_no_number(begin: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops, keeps the best state so far, and says so."""
    task = begin(RECIPE)
    before = task.batches.at

    def at(step: int) -> Any:  # noqa: ANN401 - parts
        parts = before(step)
        if step == 20:
            parts[0].feeds["x"][0] = np.nan
        return parts

    monkeypatch.setattr(type(task.batches), "at", lambda _, step: at(step))
    trained = train(task, RECIPE)
    assert trained.stop is Stop.DIVERGED
    assert trained.steps == 20
    assert "not finite: the state of step" in trained.note
    assert 0 < trained.kept < 20
    assert all(np.isfinite(array).all() for array in task.student.weights().values())
    assert fall(trained) < 0.7


def test_a_loss_that_explodes(begin: Made) -> None:
    recipe = replace(RECIPE, norms=False, lr=1e3, warmup=0.0)
    task = begin(recipe)
    before = task.student.weights()
    trained = train(task, recipe)
    assert trained.stop is Stop.DIVERGED
    assert trained.kept == 0
    np.testing.assert_array_equal(task.student.weights()["w1"], before["w1"])


def test_time_is_up(begin: Made) -> None:
    recipe = replace(RECIPE, steps=10**6)
    trained = train(begin(recipe), recipe, limits=Limits(seconds=2.0))
    assert trained.stop is Stop.TIME
    assert trained.seconds < 20
    assert trained.curve[-1].lr < 0.3 * recipe.lr


@pytest.mark.parametrize(("steps", "moves"), [(2, False), (8, True)], ids=["early", "later"])
def test_what_is_frozen_stays(steps: int, moves: bool, begin: Made) -> None:  # noqa: FBT001
    """The first of four groups alone in the first quarter; all of them in the end."""
    recipe = replace(RECIPE, unfreeze=Unfreeze.HEAD, unfreeze_until=1.0, steps=8, norms=False)
    task = begin(recipe)
    before = task.student.weights()
    updater = Updater.of(task, recipe, Shaping())
    for step in range(steps):
        updater.update(task.batches.at(step), step, (step + 0.5) / 8)
    after = task.student.weights()
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert {"v", "c"} <= changed
    assert (changed == set(before)) == moves
    assert ("w1" in changed) == moves


@pytest.mark.parametrize("norms", [False, True], ids=["plain", "norms"])
def test_masks_hold(norms: bool, begin: Made) -> None:  # noqa: FBT001 - parametrised
    """What is kept is masked in full, though a state with fewer zeros had a lower loss."""
    recipe = replace(RECIPE, norms=norms, ema=0.5, lr=0.01)
    task = begin(recipe)
    gradual = Gradual(_smallest, final=0.6, end=0.5)
    trained = train(task, recipe, shaping=Shaping(gradual=gradual))
    assert trained.kept >= 15
    assert np.mean(task.student.weights()["w2"] == 0) == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("steps", [4, 30])
def test_a_state_with_fewer_zeros_is_no_match(steps: int, begin: Made) -> None:
    """Nothing is learnt, so that each zero costs; and steps may be fewer than masks."""
    recipe = replace(RECIPE, norms=False, lr=1e-9, steps=steps)
    task = begin(recipe)
    train(task, recipe, shaping=Shaping(gradual=Gradual(_smallest, final=0.9, end=0.45)))
    assert np.mean(task.student.weights()["w2"] == 0) == pytest.approx(0.9, abs=0.01)


def test_a_nuclear_norm_lowers_the_rank(begin: Made) -> None:
    def energy(task: Task) -> float:
        values = np.linalg.svd(task.student.weights()["w2"].reshape(8, -1), compute_uv=False)
        return float((values[:3] ** 2).sum() / (values**2).sum())

    ends = []
    for weight in (0.0, 0.3):
        recipe = replace(RECIPE, nuclear=weight, norms=False, lr=0.02)
        task = begin(recipe)
        train(task, recipe, shaping=Shaping(low_rank=("w2",)))
        ends.append(energy(task))
    assert ends[1] > ends[0] + 0.1
