"""Rounding to steps that are learnt (Esser et al. 2020, "Learned step size quantization")."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..frontend.torch_graph import Tensor, import_torch

_LEAST = 1e-12  # a step is never 0


@dataclass(frozen=True, slots=True)
class Grid:
    """What a value may become, as multiples of a step.

    Attributes:
        low: The smallest; 0 or less.
        high: The largest.
        levels: All of them, ascending; none: the whole numbers from the smallest to the largest.
    """

    low: float
    high: float
    levels: tuple[float, ...] = ()

    @classmethod
    def of(cls, bits: int, *, unsigned: bool = False, zero_point: int | None = None) -> "Grid":
        """The grid of an integer type.

        Args:
            bits: Of the type.
            unsigned: Whether it starts at 0.
            zero_point: The integer that stands for 0; None for a symmetric grid around it, which a
                signed type's lowest number is left out of.
        """
        levels = 2**bits
        if unsigned:
            return cls(-(zero_point or 0), levels - 1 - (zero_point or 0))
        if zero_point is None:
            return cls(1 - levels // 2, levels // 2 - 1)
        return cls(-levels // 2 - zero_point, levels // 2 - 1 - zero_point)

    @classmethod
    def at(cls, levels: Sequence[float]) -> "Grid":
        """The grid of some levels, ascending, such as those of a small float."""
        return cls(levels[0], levels[-1], tuple(levels))

    def nearest(self, value: Tensor) -> Tensor:
        """The nearest level of values within the grid; of two as near, the lower or the even."""
        if not self.levels:
            rounded: Tensor = value.round()
            return rounded
        torch = import_torch()
        levels = torch.tensor(self.levels, device=value.device)
        between = torch.tensor([(a + b) / 2 for a, b in pairwise(self.levels)])
        found: Tensor = levels[torch.bucketize(value.detach().contiguous(), between)]
        return found


def fake_quantise(value: Tensor, step: Tensor, grid: Grid, count: int) -> Tensor:
    """A value rounded to a grid, with gradients for it and for the step (equations 1 to 5).

    Rounding lets gradients through as they are; a value outside the grid has none. The step's is
    scaled by 1 / sqrt(count high), so that steps change by as much of themselves as weights do.
    The same holds of levels that are not evenly spaced.

    Args:
        value: What is rounded.
        step: One number, or one a channel shaped to be broadcast.
        grid: What it is rounded to.
        count: How many numbers of a weight, or of one sample's activation, share the step.
    """
    scale = (count * max(grid.high, 1)) ** -0.5
    step = _pass(step.abs() + _LEAST, scale)
    inside = (value.float() / step).clamp(grid.low, grid.high)
    return (inside + (grid.nearest(inside) - inside).detach()) * step


def bounded(step: Tensor, weight: Tensor, grid: Grid, *, coarse: bool) -> Tensor:
    """A weight's step, at most as long as its largest number needs.

    Whoever sees the rounded weight alone can then tell the step: the largest number is at the end
    of the grid.

    Args:
        step: Shaped to be broadcast.
        weight: What it is the step of.
        grid: What it is rounded to.
        coarse: Whether the step is kept as a bfloat16.
    """
    torch = import_torch()
    axes = [i for i in range(weight.ndim) if step.ndim == 0 or step.shape[i] == 1]
    most = weight.detach().float().abs().amax(dim=axes, keepdim=True) / grid.high
    step = torch.minimum(step.abs(), most.reshape(step.shape))
    if coarse:
        step = step + (step.to(torch.bfloat16).float() - step).detach()
    return step


def first_step(weight: Tensor, grid: Grid, axis: int | None) -> Tensor:
    """What a weight's step begins with, 2 mean(|w|) / sqrt(high); shaped to be broadcast.

    Args:
        weight: The weight.
        grid: What it is rounded to.
        axis: Of the channels that have a step of their own; None for one of all.
    """
    torch = import_torch()
    axes = [index for index in range(weight.ndim) if axis is None or index != axis % weight.ndim]
    mean = weight.detach().abs().mean(dim=axes, keepdim=True)
    step: Tensor = (2 * mean / max(grid.high, 1) ** 0.5).clamp(min=torch.finfo(torch.float32).tiny)
    return step.reshape(()) if axis is None else step


def _pass(tensor: Tensor, scale: float) -> Tensor:
    """The same number with a gradient that is scaled."""
    scaled = tensor * scale
    return (tensor - scaled).detach() + scaled
