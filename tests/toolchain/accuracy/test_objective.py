"""Projections have the curvature of the loss that a sweep measures."""

import numpy as np
import pytest
from hwc.toolchain.accuracy.agreement import loss_measures
from hwc.toolchain.accuracy.kinds import kind_of
from hwc.toolchain.accuracy.objective import Objective
from hwc.toolchain.accuracy.sensitivity import Loss
from hwc.toolchain.errors import InputError

torch = pytest.importorskip("torch", reason="torch is not installed")

RNG = np.random.default_rng(0)
SAMPLES = 12


def softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    """Probabilities."""
    shifted = np.exp(logits - logits.max(axis, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(axis, keepdims=True)
    return probabilities


def rows(array: np.ndarray) -> list[dict[str, np.ndarray]]:
    """One output of each sample, named y."""
    return [{"y": sample.astype(np.float32)} for sample in array]


VECTORS = RNG.normal(size=(SAMPLES, 1, 32))
OUTPUTS = {
    "logits": RNG.normal(size=(SAMPLES, 1, 10)) * np.linspace(4, 9, 10),
    "embedding": VECTORS / np.linalg.norm(VECTORS, axis=-1, keepdims=True),
    "detections": RNG.normal(size=(SAMPLES, 1, 50, 6)) * np.array([1, 10, 100, 1, 1, 5.0]),
    "sequence": softmax(3 * RNG.normal(size=(SAMPLES, 1, 8, 5)), -1),
}
each_output = pytest.mark.parametrize("name", OUTPUTS)


DRAWS = 200


def curvature(objective: Objective, row: dict[str, np.ndarray], error: np.ndarray) -> float:
    """Mean square of the projection's derivative along an error."""
    y = torch.from_numpy(row["y"]).requires_grad_()
    rng = np.random.default_rng(1)
    figures = []
    for _ in range(DRAWS):
        (gradient,) = torch.autograd.grad(objective.projection({"y": y}, rng), y)
        figures.append(float((gradient.numpy().astype(np.float64) * error).sum()) ** 2)
    return float(np.mean(figures))


@each_output
def test_the_curvature_is_that_of_the_loss(name: str) -> None:
    """For small errors it is the loss that a sweep measures."""
    exact = rows(OUTPUTS[name])
    errors = [1e-2 * RNG.normal(size=row["y"].shape) * row["y"] for row in exact]
    if name == "sequence":  # probabilities keep their sum
        errors = [
            e - row["y"] * e.sum(-1, keepdims=True) for e, row in zip(errors, exact, strict=True)
        ]
    changed = iter([{"y": row["y"] + e} for row, e in zip(exact, errors, strict=True)])
    measures = [("y", m) for m in loss_measures(kind_of([row["y"] for row in exact]))]
    measured = Loss([{}] * SAMPLES, exact, measures)(lambda _: next(changed))
    objective = Objective.of(exact)
    found = [curvature(objective, row, e) for row, e in zip(exact, errors, strict=True)]
    assert np.mean(found) == pytest.approx(measured, rel=0.1)


def test_cross_entropy_and_its_curvature() -> None:
    """The mean square of the projection's derivatives is half the Hessian's diagonal."""
    exact = rows(OUTPUTS["logits"])
    objective = Objective.of(exact)
    y = torch.from_numpy(exact[0]["y"] / 5).requires_grad_()
    loss = objective.cross_entropy({"y": y}, np.array(3))
    p = softmax(y.detach().numpy(), -1)[0]
    assert float(loss.detach()) == pytest.approx(-np.log(p[3]), rel=1e-5)
    rng = np.random.default_rng(0)
    squares = np.zeros(10)
    for _ in range(2000):
        (g,) = torch.autograd.grad(objective.projection({"y": y}, rng, labelled=True), y)
        squares += g.numpy()[0] ** 2 / 2000
    np.testing.assert_allclose(squares, p * (1 - p) / 2, rtol=0.15)


@pytest.mark.parametrize("label", [-1, 10, [1, 2]], ids=["negative", "too large", "two"])
def test_labels_that_do_not_fit(label: object) -> None:
    exact = rows(OUTPUTS["logits"])
    outputs = {"y": torch.from_numpy(exact[0]["y"])}
    with pytest.raises(InputError, match="not among the 10 classes of 'y'"):
        Objective.of(exact).cross_entropy(outputs, np.array(label))


def test_which_labels_are_taken() -> None:
    """Class numbers, where there are classes."""
    classes, values = (
        Objective.of(rows(OUTPUTS["logits"])),
        Objective.of(rows(OUTPUTS["embedding"])),
    )
    assert classes.takes(np.array(3))
    assert not classes.takes(np.array(3.5))
    assert not classes.takes(None)
    assert not values.takes(np.array(3))


def test_discrete_outputs_have_no_derivative() -> None:
    with pytest.raises(InputError, match=r"no output has a derivative \(y\)") as caught:
        Objective.of([{"y": np.array([1, 2])}] * 3)
    assert "noise" in caught.value.hint


def test_channels_that_do_not_vary_cost_nothing() -> None:
    steady = OUTPUTS["detections"].copy()
    steady[..., 2] = 7
    objective = Objective.of(rows(steady))
    y = torch.from_numpy(steady[0].astype(np.float32)).requires_grad_()
    (g,) = torch.autograd.grad(objective.projection({"y": y}, np.random.default_rng(0)), y)
    assert np.isfinite(g.numpy()).all()
    assert not objective.spreads[-1][2][2]
