"""Integers by error feedback and descent, against brute force."""

import itertools

import numpy as np
import pytest
from hwc.toolchain.recovery.rounding import Grid, Target, descend, error_feedback, recovered


def problem(
    seed: int, *, groups: int = 1, channels: int = 3, depth: int = 4
) -> tuple[Grid, Target]:
    """A weight on a coarse grid, and correlated inputs."""
    rng = np.random.default_rng(seed)
    original = rng.standard_normal((groups, channels, depth))
    x = rng.standard_normal((groups, 50, depth)) @ rng.standard_normal((groups, depth, depth))
    square = x.swapaxes(1, 2) @ x / 50
    scale = np.abs(original).max(-1, keepdims=True) / 3
    steps = np.clip(np.rint(original / scale), -3, 3).astype(np.int32)
    grid = Grid(steps, scale, -3, 3, np.ones(original.shape, np.bool_))
    return grid, Target.of(square, original @ square, original)


@pytest.mark.parametrize("seed", range(20))
def test_two_weights_are_rounded_as_brute_force_does(seed: int) -> None:
    grid, target = problem(seed, channels=1, depth=2)
    every = [
        float(target.distance(np.array([[pair]]) * grid.scale).sum())
        for pair in itertools.product(range(-3, 4), repeat=2)
    ]
    found = float(target.distance(recovered(grid, target) * grid.scale).sum())
    assert found <= 1.25 * min(every) + 1e-12


def test_most_of_four_weights_are_at_the_optimum() -> None:
    every = np.array(list(itertools.product(range(-3, 4), repeat=4)))
    gaps = []
    for seed in range(20):
        grid, target = problem(seed)
        best = [_distances(target, c, every * grid.scale[0, c]).min() for c in range(3)]
        gaps += list(target.distance(recovered(grid, target) * grid.scale)[0] / best)
    assert np.median(gaps) == pytest.approx(1.0)
    assert np.mean(gaps) < 1.2


def _distances(target: Target, channel: int, weights: np.ndarray) -> np.ndarray:
    off = weights - target.weight[0, channel]
    apart: np.ndarray = ((off @ target.metric[0]) * off).sum(-1)
    return apart


@pytest.mark.parametrize("depth", [5, 64, 150], ids=["small", "one block", "three blocks"])
def test_each_method_beats_rounding_to_the_nearest(depth: int) -> None:
    grid, target = problem(1, groups=2, channels=8, depth=depth)
    nearest = target.distance(grid.weight).sum()
    fed = target.distance(error_feedback(grid, target) * grid.scale).sum()
    down = target.distance(descend(grid, target) * grid.scale).sum()
    both = target.distance(recovered(grid, target) * grid.scale).sum()
    assert fed < nearest
    assert down < nearest
    assert both <= down


def test_blocks_do_not_change_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    grid, target = problem(2, channels=6, depth=40)
    whole = error_feedback(grid, target), descend(grid, target)
    monkeypatch.setattr("hwc.toolchain.recovery.rounding._BLOCK", 7)
    assert np.array_equal(error_feedback(grid, target), whole[0])
    assert np.array_equal(descend(grid, target), whole[1])


def test_what_is_not_free_stays_and_limits_hold() -> None:
    grid, target = problem(3, channels=5, depth=12)
    fixed = np.zeros(grid.steps.shape, np.bool_)
    fixed[..., ::3] = True
    steps = recovered(Grid(grid.steps, grid.scale, -2, 2, ~fixed), target)
    assert np.array_equal(steps[fixed], grid.steps[fixed])
    assert np.abs(steps[~fixed]).max() <= 2


def test_independent_inputs_are_rounded_to_the_nearest() -> None:
    grid, _ = problem(4)
    original = grid.weight + 0.3 * grid.scale
    target = Target.of(np.eye(4)[None], original @ np.eye(4), original)
    assert np.array_equal(recovered(grid, target), grid.steps)


def test_inputs_that_never_occur_keep_the_original_weight() -> None:
    original = np.array([[[0.7, -0.2]]])
    square = np.array([[[1.0, 0.0], [0.0, 0.0]]])
    target = Target.of(square, 2 * original @ square, original)
    assert target.weight[0, 0] == pytest.approx([1.4, -0.2], rel=0.01)
    assert Target.of(0 * square, 0 * original, original).weight == pytest.approx(original)
