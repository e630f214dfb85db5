"""Losses by their formulas, and what is no label or no output to learn from."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hwc.toolchain.errors import InputError, UsageError
from hwc.toolchain.training.losses import (
    Loss,
    alignable,
    divergence,
    feature_distance,
    nuclear_norm,
)
from hwc.toolchain.training.recipe import Recipe
from scipy.special import log_softmax

torch = pytest.importorskip("torch", reason="torch is not installed")
Made = Callable[..., Any]
RNG = np.random.default_rng(0)
LOGITS = 5 * RNG.standard_normal((32, 10)).astype(np.float32)
OTHER = 5 * RNG.standard_normal((32, 10)).astype(np.float32)
LABELS = RNG.integers(0, 10, 32)


def loss_of(name: str, rows: np.ndarray, **numbers: Any) -> Loss:  # noqa: ANN401 - of a recipe
    return Loss.of(Recipe(**numbers), [{name: row[None]} for row in rows])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_divergence(temperature: float) -> None:
    """T^2 sum p log(p / q), and 0 for the same."""
    p, q = (log_softmax(x.astype(np.float64) / temperature, 1) for x in (LOGITS, OTHER))
    wanted = temperature**2 * (np.exp(p) * (p - q)).sum(1).mean()
    got = divergence(torch.from_numpy(OTHER), torch.from_numpy(LOGITS), temperature)
    assert float(got) == pytest.approx(wanted, rel=1e-5)
    assert float(divergence(torch.from_numpy(LOGITS), torch.from_numpy(LOGITS), 4.0)) < 1e-6


def test_shares_of_teacher_and_labels() -> None:
    got, wanted = {"y": torch.from_numpy(OTHER)}, {"y": torch.from_numpy(LOGITS)}
    loss = loss_of("y", LOGITS, alpha=0.75, temperature=2.0)
    soft = float(divergence(got["y"], wanted["y"], 2.0))
    hard = -log_softmax(OTHER.astype(np.float64), 1)[np.arange(32), LABELS].mean()
    assert float(loss(got, wanted, LABELS)) == pytest.approx(0.75 * soft + 0.25 * hard, rel=1e-5)
    assert float(loss(got, wanted, None)) == pytest.approx(soft, rel=1e-5)


def test_probabilities_are_logits_of_their_logarithm() -> None:
    p, q = (torch.from_numpy(x).softmax(1) for x in (LOGITS, OTHER))
    loss = loss_of("p", p.numpy(), temperature=3.0)
    wanted = float(divergence(torch.from_numpy(OTHER), torch.from_numpy(LOGITS), 3.0))
    assert float(loss({"p": q}, {"p": p}, None)) == pytest.approx(wanted, rel=1e-3)


def test_values_by_their_variance() -> None:
    """1 where a channel is predicted by its mean, whatever its unit."""
    rows = (RNG.standard_normal((32, 4)) * [1, 10, 100, 1000]).astype(np.float32)
    loss = loss_of("v", rows[:, None, :])
    mean = np.broadcast_to(rows.mean(0), rows.shape)[:, None, :].copy()
    wanted = {"v": torch.from_numpy(rows[:, None, :])}
    channels = loss.variances["v"].ravel()
    assert (channels[1:] / channels[:-1] > 30).all()
    assert float(loss({"v": torch.from_numpy(mean)}, wanted, None)) == pytest.approx(1, rel=0.1)


def test_features() -> None:
    """Of unit length by themselves; between other numbers of channels, as attention."""
    x = torch.from_numpy(RNG.standard_normal((4, 6, 5, 5)))
    assert float(feature_distance(3 * x, x)) < 1e-6
    assert float(feature_distance(-x, x)) == pytest.approx(4)
    assert float(feature_distance(torch.cat([x, x], 1), x)) < 1e-6
    assert alignable(torch.cat([x, x], 1), x)
    assert not alignable(x[:, :, :3], x)


def test_nuclear_norm() -> None:
    """The singular values of a weight as a matrix of its outputs."""
    weight = RNG.standard_normal((6, 3, 3, 3))
    wanted = np.linalg.svd(weight.reshape(6, -1), compute_uv=False).sum()
    assert float(nuclear_norm([torch.from_numpy(weight)])) == pytest.approx(wanted)


@pytest.mark.parametrize("label", [-1, 10])
def test_labels_out_of_range(label: int) -> None:
    loss = loss_of("y", LOGITS)
    loss.check_labels(LABELS)
    with pytest.raises(InputError, match=rf"such as {label}, are no classes .* \(0 to 9\)"):
        loss.check_labels(np.array([0, label]))


def test_nothing_to_learn_from() -> None:
    with pytest.raises(InputError, match="discrete"):
        loss_of("y", np.arange(20).reshape(4, 5))


@pytest.mark.parametrize(
    ("name", "value"), [("alpha", 1.5), ("steps", 0), ("lr", -1.0), ("temperature", -1.0)]
)
def test_numbers_that_mean_nothing(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} {value:g}"):
        Recipe(**{name: value})
