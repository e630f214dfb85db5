"""Learning rates, unfreezing and the growth of masks over a run."""

import numpy as np
import onnx_ir as ir
import pytest
from hwc.toolchain.training.recipe import Optimizer, Recipe, Unfreeze
from hwc.toolchain.training.schedule import Gradual, learning_rate, thaw

NAMES = ("w1", "b1", "w2", "w3", "b3", "v", "c")


@pytest.mark.parametrize(
    ("over", "rate"), [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.55, 0.5), (1.0, 0.0)]
)
def test_learning_rate(over: float, rate: float) -> None:
    assert learning_rate(Recipe(lr=1.0, warmup=0.1), over) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("given", "norms", "rounds", "optimizer", "lr"),
    [
        (Recipe(), True, False, Optimizer.SGD, 0.03),
        (Recipe(), False, False, Optimizer.ADAMW, 1e-3),
        (Recipe(), False, True, Optimizer.SGD, 0.01),
        (Recipe(optimizer=Optimizer.ADAMW, lr=0.5), True, False, Optimizer.ADAMW, 0.5),
    ],
    ids=["norms", "plain", "rounding", "given"],
)
def test_what_a_recipe_leaves_open(
    given: Recipe,
    norms: bool,  # noqa: FBT001 - parametrised
    rounds: bool,  # noqa: FBT001 - parametrised
    optimizer: Optimizer,
    lr: float,
) -> None:
    resolved = given.resolved(norms=norms, rounds=rounds)
    assert (resolved.optimizer, resolved.lr) == (optimizer, lr)


@pytest.mark.parametrize(
    ("unfreeze", "over", "free"),
    [
        (Unfreeze.ALL, 0.0, set(NAMES)),
        (Unfreeze.HEAD, 0.0, {"v", "c"}),
        (Unfreeze.HEAD, 0.2, {"v", "c", "w3", "b3"}),
        (Unfreeze.HEAD, 0.5, set(NAMES)),
        (Unfreeze.CHANGED, 0.0, {"w2"}),
        (Unfreeze.CHANGED, 0.2, {"w2", "v", "c"}),
        (Unfreeze.CHANGED, 1.0, set(NAMES)),
    ],
)
def test_unfreezing(unfreeze: Unfreeze, over: float, free: set[str], network: ir.Model) -> None:
    plan = thaw(network, NAMES, ["w2"], Recipe(unfreeze=unfreeze, unfreeze_until=0.5))
    assert plan.free(over) == free


def test_masks_grow_fast_first() -> None:
    """Zhu and Gupta's equation 1."""
    gradual = Gradual(lambda *_: {}, final=0.8, initial=0.2, begin=0.1, end=0.5)
    shares = [gradual.share(over) for over in (0.0, 0.1, 0.3, 0.5, 1.0)]
    np.testing.assert_allclose(shares, [0.2, 0.2, 0.8 - 0.6 * 0.125, 0.8, 0.8])


@pytest.mark.parametrize("steps", [2, 7, 1000])
def test_masks_come_to_what_they_are_to_be_however_few_the_steps(steps: int) -> None:
    gradual = Gradual(lambda *_: {}, final=0.8, end=0.5)
    masked, made = -1.0, []
    for over in np.arange(steps) / steps:
        if gradual.due(over, masked):
            masked = gradual.share(over)
            made.append(over)
    assert masked == 0.8
    assert len(made) == len(set(made)) <= 0.8 / gradual.rise + 2
    assert sum(over >= gradual.end for over in made) == 1
