"""Importance of units, on graphs small enough to know what it must be."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends import ort
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.engine import Array, Runner
from hwc.toolchain.errors import InputError
from hwc.toolchain.structure.deviation import by_deviations
from hwc.toolchain.structure.evidence import by_activations, by_gradients
from hwc.toolchain.structure.find_groups import find_groups
from hwc.toolchain.structure.groups import ChannelGroup
from hwc.toolchain.structure.importance import NEEDS_GRADIENTS, Importance, by_weights, ranked

Parse = Callable[[str], onnx.ModelProto]
HEAD = '<ir_version: 10, opset_import: ["" : 18]> g '
MLP = """(float[N,4] x) => (float[N,3] y) <float[4,5] w, float[5] b, float[5,3] v>
{ a = Gemm (x, w, b) r = Relu (a) y = MatMul (r, v) }"""
CONV = """(float[N,3,6,6] x) => (float[N,2,6,6] y) <float[5,3,3,3] w, float[5] b, float[2,5,1,1] v>
{ a = Conv <pads = [1,1,1,1]> (x, w, b) r = Relu (a) y = Conv (r, v) }"""
NORMED = """(float[N,3,6,6] x) => (float[N,2,6,6] y)
<float[5,3,1,1] w, float[5] s, float[5] o, float[5] m, float[5] d, float[2,5,1,1] v>
{ a = Conv (x, w) n = BatchNormalization (a, s, o, m, d) r = Relu (n) y = Conv (r, v) }"""
WEIGHTS = (Importance.L1, Importance.L2)
USELESS = 2  # the unit that is planted
STEP = 1e-3
LABEL = [1]


def runner(model: ir.Model) -> Runner:
    return ort.Session(model, ort.Options(threads=1))


def built(parse_graph: Parse, text: str, seed: int = 0, **fixed: Array) -> ir.Model:
    """A graph with random weights, and given ones by name."""
    proto = parse_graph(HEAD + text)
    rng = np.random.default_rng(seed)
    for tensor in proto.graph.initializer:
        array = rng.standard_normal(tuple(tensor.dims)).astype(np.float32)
        array = np.abs(array) if tensor.name == "d" else array  # variances
        array = fixed.get(tensor.name, array).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def set_weight(model: ir.Model, name: str, array: Array) -> None:
    model.graph.initializers[name].const_value = ir.tensor(array.astype(np.float32), name=name)


def weight(model: ir.Model, name: str) -> Array:
    value = model.graph.initializers[name].const_value
    assert value is not None
    return value.numpy().astype(np.float64)


def planted(parse_graph: Parse, text: str) -> ir.Model:
    """A graph in which one unit writes nothing, and nobody reads it."""
    model = built(parse_graph, text)
    for name in ("w", "b", "v", "s", "o"):
        if name in model.graph.initializers:
            array = weight(model, name).copy()
            axis = array.shape.index(5)
            np.moveaxis(array, axis, 0)[USELESS] *= 1e-4
            set_weight(model, name, array)
    return model


def samples_of(model: ir.Model, count: int = 6, label: object = None) -> list[Sample]:
    value = model.graph.inputs[0]
    assert value.shape is not None
    shape = [1, *(int(dim) for dim in list(value.shape)[1:] if isinstance(dim, int))]
    rng = np.random.default_rng(1)
    found = [Sample({"x": rng.standard_normal(shape).astype(np.float32)}) for _ in range(count)]
    return [replace(sample, label=None if label is None else np.asarray(label)) for sample in found]


def only(model: ir.Model) -> tuple[ChannelGroup, ...]:
    groups = find_groups(model).groups
    assert [group.units for group in groups] == [5]
    return groups


def scores_of(model: ir.Model, how: Importance, samples: list[Sample]) -> Array:
    groups = only(model)
    if how in NEEDS_GRADIENTS:
        known = Reference.of(runner(model), samples, "calibrate")
        return by_gradients(model, groups, how, reference=known)["a"]
    if how is Importance.ACTIVATION:
        return by_activations(model, groups, samples, runner)["a"]
    if how is Importance.BN_SCALE:
        return by_deviations(model, groups, samples, runner)["a"]
    initial = model.clone()
    for name in ("w", "v"):
        set_weight(initial, name, np.zeros_like(weight(model, name)))
    return by_weights(model, groups, how, initial=initial)["a"]


@pytest.mark.parametrize("text", [MLP, CONV, NORMED], ids=["mlp", "conv", "batch-norm"])
@pytest.mark.parametrize("how", list(Importance))
def test_a_useless_unit_goes_first(parse_graph: Parse, how: Importance, text: str) -> None:
    model = planted(parse_graph, text)
    scores = scores_of(model, how, samples_of(model))
    assert scores.shape == (5,)
    assert np.isfinite(scores).all()
    assert ranked({"a": scores})["a"][-1] == USELESS


@pytest.mark.parametrize(("how", "power"), [(Importance.L1, 1), (Importance.L2, 2)])
def test_sizes_of_weights_by_hand(parse_graph: Parse, how: Importance, power: int) -> None:
    model = built(parse_graph, MLP)
    written = (np.abs(weight(model, "w")) ** power).sum(axis=0)
    read = (np.abs(weight(model, "v")) ** power).sum(axis=1)
    expected = written / written.mean() + read / read.mean()
    assert by_weights(model, only(model), how)["a"] == pytest.approx(expected)


def test_weights_that_shrank_in_training_matter_least(parse_graph: Parse) -> None:
    model = built(parse_graph, MLP, w=np.ones((4, 5)), v=np.ones((5, 3)))
    initial = model.clone()
    before = np.ones((4, 5)) * [0.0, 0.5, 1.0, 1.5, 2.0]
    set_weight(initial, "w", before)
    scores = by_weights(model, only(model), Importance.MOVEMENT, initial=initial)["a"]
    assert list(ranked({"a": scores})["a"]) == [0, 1, 2, 3, 4]
    assert scores[2] == 0.0  # none of its weights has moved


@pytest.mark.parametrize("what", ["nothing", "no weight", "larger", "smaller"])
def test_movement_without_what_was_before(parse_graph: Parse, what: str) -> None:
    model = built(parse_graph, MLP)
    other = {
        "nothing": None,
        "no weight": built(parse_graph, MLP.replace("w", "q")),
        "larger": built(parse_graph, MLP.replace("4", "6")),
        "smaller": built(parse_graph, MLP.replace("5", "2")),
    }[what]
    with pytest.raises(InputError, match="--initial: it has no weight w of the same shape") as bad:
        by_weights(model, only(model), Importance.MOVEMENT, initial=other)
    assert "before training" in bad.value.hint
    assert "\n" not in bad.value.message


def test_what_weights_do_not_tell_is_not_asked_of_them(parse_graph: Parse) -> None:
    model = built(parse_graph, MLP)
    with pytest.raises(ValueError, match="more than weights"):
        by_weights(model, only(model), Importance.BN_SCALE)


def test_equal_units_stay_in_their_order() -> None:
    assert list(ranked({"a": np.array([1.0, 2.0, 1.0, 2.0])})["a"]) == [1, 3, 0, 2]


def cross_entropy(model: ir.Model, feeds: dict[str, Array]) -> float:
    logits = runner(model)(feeds)["y"].astype(np.float64)[0]
    return float(np.log(np.exp(logits).sum()) - logits[LABEL[0]])


def slopes(model: ir.Model, feeds: dict[str, Array]) -> Array:
    """By finite differences: what the loss changes by for each unit's reading weights."""
    found = []
    for unit in range(5):
        losses = []
        for sign in (1, -1):
            changed = model.clone()
            array = weight(model, "v").copy()
            array[unit] *= 1 + sign * STEP
            set_weight(changed, "v", array)
            losses.append(cross_entropy(changed, feeds))
        found.append((losses[0] - losses[1]) / (2 * STEP))
    return np.array(found)


@pytest.mark.parametrize(
    ("how", "power"), [(Importance.TAYLOR, 1), (Importance.FISHER, 2)], ids=["taylor", "fisher"]
)
def test_the_loss_changes_as_gradients_say(parse_graph: Parse, how: Importance, power: int) -> None:
    model = built(parse_graph, MLP)
    samples = samples_of(model, label=LABEL)
    known = Reference.of(runner(model), samples, "calibrate")
    scores = by_gradients(model, only(model), how, reference=known)["a"]
    changes = np.array([slopes(model, dict(sample.feeds)) for sample in samples])
    expected = (np.abs(changes) ** power).sum(axis=0)
    assert scores == pytest.approx(expected, rel=0.02, abs=1e-3 * expected.max())


def test_snip_is_no_smaller_than_taylor(parse_graph: Parse) -> None:
    model = built(parse_graph, CONV)
    known = Reference.of(runner(model), samples_of(model), "calibrate")
    snip, taylor = (
        by_gradients(model, only(model), how, reference=known)["a"]
        for how in (Importance.SNIP, Importance.TAYLOR)
    )
    assert (snip >= taylor - 1e-9).all()
    assert (snip > 1.01 * taylor).any()


def test_labels_change_what_matters(parse_graph: Parse) -> None:
    model = built(parse_graph, MLP)
    found = []
    for label in (None, [0], [2]):
        known = Reference.of(runner(model), samples_of(model, label=label), "calibrate")
        found.append(by_gradients(model, only(model), Importance.TAYLOR, reference=known)["a"])
    assert all(np.isfinite(scores).all() and scores.max() > 0 for scores in found)
    assert not np.allclose(found[1], found[2])


def test_gradients_of_no_group_are_none(parse_graph: Parse) -> None:
    model = built(parse_graph, MLP)
    known = Reference.of(runner(model), samples_of(model), "calibrate")
    assert by_gradients(model, (), Importance.SNIP, reference=known) == {}


def test_activations_by_hand(parse_graph: Parse) -> None:
    model = built(parse_graph, MLP)
    samples = samples_of(model)
    x = np.concatenate([sample.feeds["x"] for sample in samples]).astype(np.float64)
    a = x @ weight(model, "w") + weight(model, "b")
    sizes = [np.abs(each).mean(axis=0) for each in (a, np.maximum(a, 0))]
    expected = sum(size / size.mean() for size in sizes)
    found = by_activations(model, only(model), samples, runner)["a"]
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("folded", [False, True], ids=["batch norm", "folded"])
def test_scales_of_batch_norms_are_read_back(parse_graph: Parse, *, folded: bool) -> None:
    """A batch norm that has seen the data gives each channel its scale as deviation."""
    model = built(parse_graph, NORMED)
    samples = samples_of(model, 12)
    x = np.concatenate([sample.feeds["x"] for sample in samples]).astype(np.float64)
    a = np.einsum("nihw,oi->nohw", x, weight(model, "w")[..., 0, 0])
    mean, variance = a.mean(axis=(0, 2, 3)), a.var(axis=(0, 2, 3))
    scale = np.array([0.5, -2.0, 0.1, 1.0, -0.3])
    if folded:
        text = NORMED.replace("(x, w) n = BatchNormalization (a, s, o, m, d)", "(x, w, s)")
        text = text.replace("Relu (n)", "Relu (a)").replace(
            ", float[5] o, float[5] m, float[5] d", ""
        )
        ratio = (scale / np.sqrt(variance))[:, None, None, None]
        model = built(parse_graph, text, w=weight(model, "w") * ratio)
    else:
        for name, array in {"s": scale, "m": mean, "d": variance}.items():
            set_weight(model, name, array)
    expected = np.abs(scale) / np.abs(scale).mean()
    found = by_deviations(model, only(model), samples, runner)["a"]
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("scores", [by_activations, by_deviations])
def test_no_samples_are_refused(parse_graph: Parse, scores: Callable[..., object]) -> None:
    model = built(parse_graph, MLP)
    with pytest.raises(InputError, match="no samples"):
        scores(model, only(model), [], runner)


@pytest.mark.parametrize("scores", [by_activations, by_deviations])
def test_dead_units_give_numbers(parse_graph: Parse, scores: Callable[..., object]) -> None:
    model = built(parse_graph, MLP, w=np.zeros((4, 5)), b=np.zeros(5))
    found = scores(model, only(model), samples_of(model), runner)
    assert list(found["a"]) == [0.0] * 5  # type: ignore[index]  # scores by group
