"""Integers for a weight so that its layer's output, not the weight, is near the original's.

The squared error of a layer's output is a quadratic form of its weight, so the best integers are
the closest point of a lattice. `error_feedback` finds a good one (GPTQ, Frantar et al. 2022: round
a column, let the columns to come make up for it), and `descend` improves it one integer at a time
with exact gradients (QuantEase, Behdin et al. 2023). The target is the weight that fits the
original's output best on what the layer *really* reads, as in AdaRound (Nagel et al. 2020, eq. 25),
not the original weight.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int32]

DAMPING = 0.01  # of the mean variance: what pulls towards the original weight (GPTQ's default)
_BLOCK = 64  # columns between two updates of all the rest
_SWEEPS = 24  # it converges in about ten


@dataclass(frozen=True, slots=True)
class Grid:
    """The numbers that a weight can hold.

    Attributes:
        steps: The integers that it holds, shape (groups, channels, depth).
        scale: What one step is worth; broadcasts to that shape.
        low: The lowest integer.
        high: The highest.
        free: Which integers may change; broadcasts to that shape.
    """

    steps: Steps
    scale: Floats
    low: int
    high: int
    free: npt.NDArray[np.bool_]

    @property
    def weight(self) -> Floats:
        """The numbers that the integers stand for."""
        return self.steps * self.scale

    def with_steps(self, steps: Steps) -> "Grid":
        """The grid with other integers."""
        return replace(self, steps=steps)


@dataclass(frozen=True, slots=True)
class Target:
    """What a weight should be near, and in which measure.

    Attributes:
        weight: Shape (groups, channels, depth).
        metric: Symmetric positive definite, shape (groups, depth, depth).
    """

    weight: Floats
    metric: Floats

    @classmethod
    def of(
        cls, square: Floats, cross: Floats, original: Floats, *, damping: float = DAMPING
    ) -> "Target":
        """The weight W of the least error: tr(W square W') - 2 tr(W cross') + damping.

        Args:
            square: Moments of what the layer reads, shape (groups, depth, depth).
            cross: Moments of what it should write and reads, shape (groups, channels, depth).
            original: The weight of the original, shape (groups, channels, depth): damping pulls
                towards it, and all directions that the samples do not reach stay as it has them.
            damping: In units of the mean variance.
        """
        depth = square.shape[-1]
        variance = np.diagonal(square, axis1=1, axis2=2).mean(1)
        ridge = np.where(variance > 0.0, damping * variance, 1.0)[:, None, None]
        metric = square + ridge * np.eye(depth)
        pulled = cross + ridge * original
        solved = np.linalg.solve(metric, pulled.swapaxes(1, 2)).swapaxes(1, 2)
        return cls(solved.astype(np.float64, copy=False), metric)

    def distance(self, weight: Floats) -> Floats:
        """The squared distance of each channel, shape (groups, channels)."""
        off = weight - self.weight
        apart: Floats = (off @ self.metric * off).sum(-1)
        return apart


def recovered(grid: Grid, target: Target) -> Steps:
    """The best integers that both methods find, starting from those of the grid and from GPTQ's."""
    starts = (grid.steps, error_feedback(grid, target))
    found = [descend(grid.with_steps(steps), target) for steps in starts]
    first, second = (target.distance(steps * grid.scale) for steps in found)
    better = np.where((second < first)[..., None], found[1], found[0])
    return better.astype(np.int32)


def error_feedback(grid: Grid, target: Target) -> Steps:
    """Round column by column; what rounding leaves is spread over the columns still to come.

    The columns with the most energy come first ("act-order"). Frantar et al. 2022, algorithm 1.
    """
    order = np.argsort(-np.diagonal(target.metric, axis1=1, axis2=2), axis=1, kind="stable")
    at = order[:, None]
    wanted = np.take_along_axis(target.weight, at, 2)
    metric = np.take_along_axis(np.take_along_axis(target.metric, at, 2), order[:, :, None], 1)
    upper = np.linalg.cholesky(np.linalg.inv(metric)).swapaxes(1, 2)
    scale = np.take_along_axis(np.broadcast_to(grid.scale, wanted.shape), at, 2)
    free = np.take_along_axis(np.broadcast_to(grid.free, wanted.shape), at, 2)
    steps = np.take_along_axis(grid.steps, at, 2)
    made = steps.copy()
    depth = wanted.shape[-1]
    for start in range(0, depth, _BLOCK):
        block = slice(start, min(start + _BLOCK, depth))
        errors = np.zeros(wanted[:, :, block].shape)
        for j in range(block.start, block.stop):
            rounded = np.clip(np.rint(wanted[:, :, j] / scale[:, :, j]), grid.low, grid.high)
            made[:, :, j] = np.where(free[:, :, j], rounded, steps[:, :, j])
            off = wanted[:, :, j] - made[:, :, j] * scale[:, :, j]
            errors[:, :, j - start] = off / upper[:, None, j, j]
            later = slice(j + 1, block.stop)
            wanted[:, :, later] -= errors[:, :, j - start, None] * upper[:, None, j, later]
        wanted[:, :, block.stop :] -= errors @ upper[:, block, block.stop :]
    out = np.empty_like(made)
    np.put_along_axis(out, np.broadcast_to(at, made.shape), made, 2)
    return out


def descend(grid: Grid, target: Target) -> Steps:
    """Set one integer at a time to the best there is, given all others, until none moves."""
    steps = grid.steps.copy()
    scale = np.broadcast_to(grid.scale, steps.shape)
    free = np.broadcast_to(grid.free, steps.shape)
    metric = target.metric
    slope = (steps * scale - target.weight) @ metric  # half the gradient
    curve = np.diagonal(metric, axis1=1, axis2=2)
    depth = steps.shape[-1]
    for _ in range(_SWEEPS):
        before = steps.copy()
        for start in range(0, depth, _BLOCK):
            block = slice(start, min(start + _BLOCK, depth))
            local = slope[:, :, block].copy()
            moved = np.zeros(local.shape)
            for j in range(block.start, block.stop):
                best = steps[:, :, j] - local[:, :, j - start] / (
                    curve[:, None, j] * scale[:, :, j]
                )
                best = np.clip(np.rint(best), grid.low, grid.high)
                best = np.where(free[:, :, j], best, steps[:, :, j])
                moved[:, :, j - start] = (best - steps[:, :, j]) * scale[:, :, j]
                steps[:, :, j] = best
                local += moved[:, :, j - start, None] * metric[:, None, j, block]
            if moved.any():
                slope += moved @ metric[:, block]
        if np.array_equal(steps, before):
            break
    return steps
