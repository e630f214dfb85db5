"""Learnt steps: the forward pass and the gradients of the paper."""

import numpy as np
import pytest
from hwc.toolchain.training.lsq import Grid, fake_quantise, first_step

torch = pytest.importorskip("torch", reason="torch is not installed")
VALUES = np.linspace(-3, 3, 61).astype(np.float32) + np.float32(0.013)


@pytest.mark.parametrize(
    ("bits", "unsigned", "zero_point", "ends"),
    [
        (8, False, None, (-127, 127)),
        (2, False, None, (-1, 1)),
        (8, False, 0, (-128, 127)),
        (8, True, 0, (0, 255)),
        (8, True, 100, (-100, 155)),
    ],
)
def test_grids(bits: int, unsigned: bool, zero_point: int | None, ends: tuple[int, int]) -> None:  # noqa: FBT001
    grid = Grid.of(bits, unsigned=unsigned, zero_point=zero_point)
    assert (grid.low, grid.high) == ends


@pytest.mark.parametrize("grid", [Grid(-3, 3), Grid(0, 7), Grid(-2, 13)], ids=str)
def test_value_and_gradients(grid: Grid) -> None:
    """Equations 1 and 2 forward; 3 and 5, and the scale of section 2.2, backward."""
    s, count = np.float32(0.3), VALUES.size
    value = torch.tensor(VALUES, requires_grad=True)
    step = torch.tensor(s, requires_grad=True)
    made = fake_quantise(value, step, grid, count)
    x = VALUES / s
    np.testing.assert_allclose(
        made.detach().numpy(), np.clip(np.rint(x), grid.low, grid.high) * s, rtol=1e-5
    )
    up = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    made.backward(torch.from_numpy(up))
    inside = (x > grid.low) & (x < grid.high)
    np.testing.assert_allclose(value.grad.numpy(), up * inside, atol=1e-6)
    of_step = np.where(inside, np.rint(x) - x, np.where(x <= grid.low, grid.low, grid.high))
    wanted = (up * of_step).sum() / np.sqrt(count * grid.high)
    assert float(step.grad) == pytest.approx(float(wanted), rel=1e-4)


def test_first_steps() -> None:
    weight = torch.from_numpy(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    grid = Grid(-7, 7)
    by_channel = first_step(weight, grid, 1)
    assert by_channel.shape == (1, 3, 1)
    wanted = 2 * weight[:, 1].abs().mean() / np.sqrt(7)
    assert float(by_channel[0, 1, 0]) == pytest.approx(float(wanted))
    assert first_step(weight, grid, None).shape == ()
