"""Derivatives are those of finite differences, and the trace is that of the true Hessian."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain.accuracy.derivatives import Derivatives, derivatives
from hwc.toolchain.accuracy.evaluator import Evaluator, Reference
from hwc.toolchain.accuracy.metrics import agreement
from hwc.toolchain.accuracy.objective import Objective
from hwc.toolchain.accuracy.perturbation import Rounding
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.accuracy.sensitivity import Loss, sensitivity
from hwc.toolchain.engine import Array, Feeds
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.torch_graph import tensors_of, to_torch
from hwc.toolchain.plan import NodeChoice, Precision

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx2fx", reason="onnx2fx is not installed")

HEAD = '<ir_version: 9, opset_import: ["" : 18]>'
PERCEPTRON = """g (float[1,6] x) => (float[1,4] y) <float[6,5] w, float[5] b, float[5,4] v>
    { h = Gemm(x, w, b) t = Tanh(h) y = MatMul(t, v) }"""
NETWORK = """g (float[1,4,12,12] x) => (float[1,10] y)
    <float[16,4,3,3] w1, float[16,16,3,3] w2, float[16,16,1,1] w3, float[10,16] v>
    { a = Conv(x, w1) r1 = Relu(a) b = Conv<pads = [1,1,1,1]>(r1, w2) r2 = Relu(b)
      c = Conv(r2, w3) s = Add(r1, c) p = GlobalAveragePool(s) f = Flatten(p)
      y = Gemm<transB = 1>(f, v) }"""
SAMPLES = 24
Made = Callable[..., Any]
MadeRounding = Callable[[Any], Rounding]


class Data:
    """Samples, with labels where they are known."""

    def __init__(self, shape: tuple[int, ...], labels: int = 0) -> None:
        """Draw them."""
        rng = np.random.default_rng(5)
        self.arrays = rng.normal(size=(SAMPLES, *shape)).astype(np.float32)
        self.labels = rng.integers(0, labels, SAMPLES) if labels else None

    def __len__(self) -> int:
        """How many there are."""
        return SAMPLES

    def __getitem__(self, index: int) -> Sample:
        """One of them."""
        label = None if self.labels is None else np.asarray(self.labels[index])
        return Sample({"x": self.arrays[index]}, label)


def session(model: ir.Model) -> Session:
    """A runner that computes the graph as it is written."""
    return Session(model, Options(1, optimise=False))


def bench_of(subject: Made, text: str, data: Data) -> Any:  # noqa: ANN401 - the workbench
    """A graph, calibrated on the data."""
    return subject(HEAD + text, samples=tuple(data[i].feeds for i in range(SAMPLES)))


def only_constants(rounding: Rounding) -> Rounding:
    """The same without the errors of activations."""
    nothing = type(rounding.activations)(rounding.activations.moments, {})
    return Rounding(rounding.model, rounding.graph, rounding.dialect, nothing, rounding.rounded)


def differences(
    bench: Any,  # noqa: ANN401 - the workbench
    name: str,
    value: Callable[[dict[str, Array], int], float],
) -> Array:
    """Central differences of a figure of each sample's outputs by each weight; float64.

    Returns:
        Shape (samples, *weight).
    """
    exact = bench.model.graph.initializers[name].const_value.numpy()
    found = np.zeros((SAMPLES, exact.size))
    step = 1e-2
    for i in range(exact.size):
        for sign in (1, -1):
            moved = exact.copy()
            moved.flat[i] += sign * step
            copy = bench.model.clone()
            copy.graph.initializers[name].const_value = ir.tensor(moved, name=name)
            run = session(copy)
            for s, feeds in enumerate(bench.samples):
                found[s, i] += sign * value(run(feeds), s) / (2 * step)
    return found.reshape(SAMPLES, *exact.shape)


def cross_entropy(y: Array, label: int) -> float:
    """In nats."""
    return float(np.log(np.exp(y - y.max()).sum()) - (y.ravel()[label] - y.max()))


def test_first_derivatives_with_labels(subject: Made, rounding: MadeRounding) -> None:
    """Gradient, Fisher and SNIP of a weight, by finite differences of the cross-entropy."""
    data = Data((1, 6), labels=4)
    bench = bench_of(subject, PERCEPTRON, data)
    sharpen(bench)
    made = only_constants(rounding(bench))
    reference = Reference.of(session(bench.model), data, "search")
    found = derivatives(made, reference, count=SAMPLES)
    assert found.labelled
    assert found.error < 1e-6

    def loss(outputs: dict[str, Array], sample: int) -> float:
        assert data.labels is not None
        return cross_entropy(outputs["y"].astype(np.float64), int(data.labels[sample]))

    for change in made.perturbations():
        (name,) = change.constants
        products = differences(bench, name, loss) * change.constants[name]
        each = products.reshape(SAMPLES, -1)
        place = change.row, change.column
        assert found.gradient[place] == pytest.approx((each.sum(1) ** 2).mean() / 2, rel=0.02)
        assert found.fisher[place] == pytest.approx((each**2).sum(1).mean() / 2, rel=0.02)
        assert found.snip[place] == pytest.approx(np.abs(each).sum(1).mean(), rel=0.02)


def sharpen(bench: Any) -> None:  # noqa: ANN401 - the workbench
    """Make the outputs peaked logits, so that they are taken for classes."""
    value = bench.model.graph.initializers["v"]
    value.const_value = ir.tensor(value.const_value.numpy() * 8, name="v")


def test_hutchinson_finds_the_true_trace(subject: Made, rounding: MadeRounding) -> None:
    """Of the Hessian of the distance from the original, by each weight."""
    data = Data((1, 6))
    bench = bench_of(subject, PERCEPTRON, data)
    made = only_constants(rounding(bench))
    reference = Reference.of(session(bench.model), data, "search")
    tables = [derivatives(made, reference, count=SAMPLES, seed=s).hessian for s in range(40)]
    mean = np.mean(tables, axis=0)
    graph = to_torch(bench.model)
    for change in made.perturbations():
        (name,) = change.constants
        exact = half_mean_diagonal(graph, name, data, reference)
        length = float((change.constants[name] ** 2).sum())
        assert mean[change.row, change.column] == pytest.approx(exact * length, rel=0.08)


def half_mean_diagonal(graph: Any, name: str, data: Data, reference: Reference) -> float:  # noqa: ANN401 - torch
    """Half the mean diagonal of the true Hessian, mean of the samples, by torch itself."""
    exact = [reference.outputs[i]["y"] for i in range(SAMPLES)]
    variance = np.concatenate(exact).astype(np.float64).var(axis=0)
    traces = []
    for i in range(SAMPLES):
        fixed = torch.from_numpy(exact[i])

        def loss(weight: Any, feeds: Feeds = data[i].feeds, fixed: Any = fixed) -> Any:  # noqa: ANN401 - torch
            y = graph(tensors_of(feeds), {name: weight})["y"]
            return ((y - fixed) ** 2 / torch.from_numpy(variance.astype(np.float32))).mean()

        weight = graph.weights[name]
        hessian = torch.autograd.functional.hessian(loss, weight)
        size = weight.numel()
        traces.append(float(hessian.reshape(size, size).trace()) / size / 2)
    return float(np.mean(traces))


@pytest.fixture(scope="module")
def network(subject: Made, rounding: MadeRounding) -> tuple[Any, Rounding, Reference]:
    """A small residual network."""
    data = Data((1, 4, 12, 12))
    bench = bench_of(subject, NETWORK, data)
    return bench, rounding(bench), Reference.of(session(bench.model), data, "search")


def test_without_labels_the_measured_loss_is_predicted(
    network: tuple[Any, Rounding, Reference],
) -> None:
    """Not only its order: the loss of a sweep itself, of single slots and of all at once."""
    bench, made, reference = network
    found = derivatives(made, reference, count=SAMPLES)
    assert not found.labelled

    def realise(plan: Any) -> Session:  # noqa: ANN401 - as the evaluator calls it
        return Session(bench.writer.write(plan), Options(1, optimise=False))

    evaluator = Evaluator(realise, reference, agreement([reference.outputs[0]]))
    measured = sensitivity(evaluator, bench.slots, count=SAMPLES)
    int8 = np.array([_column(slot.choices) for slot in bench.slots.slots])
    rows = np.flatnonzero(int8)
    predicted, seen = found.fisher[rows, int8[rows]], measured[rows, int8[rows]]
    known = seen > 0
    assert np.corrcoef(np.log(predicted[known]), np.log(seen[known]))[0, 1] > 0.9
    assert predicted.sum() == pytest.approx(seen.sum(), rel=0.35)
    whole = Loss.of(reference, SAMPLES)(realise(bench.plan(every="int8")))
    assert found.fisher[rows, int8[rows]].sum() == pytest.approx(whole, rel=0.5)


def _column(choices: tuple[NodeChoice, ...]) -> int:
    """Where int8 is; 0 where it is not offered."""
    return next((k for k, c in enumerate(choices) if c.precision is Precision.INT8), 0)


def test_all_tables_have_the_shape_of_the_measured_one(
    network: tuple[Any, Rounding, Reference],
) -> None:
    _, made, reference = network
    found = derivatives(made, reference, count=2)
    blank = made.table()
    for table in tables_of(found):
        assert table.shape == blank.shape
        assert (table[:, 0] == 0).all()
        for row, slot in zip(table, made.graph.slots, strict=True):
            assert (row[: len(slot.choices)] >= 0).all()
            assert np.isnan(row[len(slot.choices) :]).all()


def test_the_same_seed_gives_the_same_tables(network: tuple[Any, Rounding, Reference]) -> None:
    _, made, reference = network
    one, two, other = (derivatives(made, reference, count=2, seed=s) for s in (1, 1, 2))
    for a, b in zip(tables_of(one), tables_of(two), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.fisher, other.fisher, equal_nan=True)


def tables_of(found: Derivatives) -> list[Array]:
    """All of its tables."""
    return [found.gradient, found.fisher, found.snip, found.hessian]


def test_a_reference_of_another_model_is_refused(network: tuple[Any, Rounding, Reference]) -> None:
    """Gradients of another function than the one that is compiled would mean nothing."""
    bench, made, reference = network
    copy = bench.model.clone()
    weight = copy.graph.initializers["w2"]
    weight.const_value = ir.tensor(weight.const_value.numpy() * 1.5, name="w2")
    other = Reference.of(session(copy), reference.samples, "search")
    with pytest.raises(InputError, match="another function"):
        derivatives(made, other, count=2)


def test_classes_are_recognised_on_all_samples(subject: Made) -> None:
    """Sharpened outputs are classes: the premise of the tests with labels."""
    data = Data((1, 6), labels=4)
    bench = bench_of(subject, PERCEPTRON, data)
    sharpen(bench)
    run = session(bench.model)
    objective = Objective.of([run(feeds) for feeds in bench.samples])
    assert objective.takes(np.asarray(1))
