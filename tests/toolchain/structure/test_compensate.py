"""What goes is made up for: exactly where it follows from what stays, else as far as it can."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.passes.prune import prune
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.engine import Array
from hwc.toolchain.errors import InputError
from hwc.toolchain.observe import observer
from hwc.toolchain.structure.compensate import refit
from hwc.toolchain.structure.find_groups import find_groups
from hwc.toolchain.structure.groups import ChannelGroup
from hwc.toolchain.structure.moments import ChannelMoments, moments_of
from hwc.toolchain.structure.readers import Reader, readers_of

EXACT = 1e-3  # of the largest output: moments of products of fp32
HEAD = '<ir_version: 9, opset_import: ["" : 18]>'
GRAPHS = {
    "conv": """g (float[N,3,9,9] x) => (float[N,4,5,5] y)
        <float[6,3,3,3] w, float[6] b, float[4,6,3,3] v, float[4] c>
        { h = Conv<pads = [1,1,1,1]>(x, w, b) r = Relu(h)
          y = Conv<pads = [1,1,1,1], strides = [2,2]>(r, v, c) }""",
    "conv-without-bias": """g (float[N,3,9,9] x) => (float[N,4,7,7] y)
        <float[6,3,3,3] w, float[6] b, float[4,6,3,3] v>
        { h = Conv<pads = [1,1,1,1]>(x, w, b) r = Relu(h) y = Conv(r, v) }""",
    "pointwise": """g (float[N,3,9,9] x) => (float[N,4,9,9] y)
        <float[6,3,3,3] w, float[6] b, float[4,6,1,1] v, float[4] c>
        { h = Conv<pads = [1,1,1,1]>(x, w, b) r = Relu(h) y = Conv(r, v, c) }""",
    "gemm": """g (float[N,9] x) => (float[N,4] y)
        <float[9,6] w, float[6] b, float[6,4] v, float[4] c>
        { h = Gemm(x, w, b) r = Relu(h) y = Gemm(r, v, c) }""",
    "gemm-transposed": """g (float[N,9] x) => (float[N,4] y)
        <float[6,9] w, float[6] b, float[4,6] v, float[1,4] c>
        { h = Gemm<transB = 1>(x, w, b) r = Relu(h) y = Gemm<transB = 1>(r, v, c) }""",
    "matmul": """g (float[N,5,9] x) => (float[N,5,4] y)
        <float[9,6] w, float[6] b, float[6,4] v, float[4] c>
        { m = MatMul(x, w) h = Add(m, b) r = Relu(h) n = MatMul(r, v) y = Add(n, c) }""",
    "flattened": """g (float[N,3,4,4] x) => (float[N,4] y)
        <float[6,3,3,3] w, float[6] b, float[96,4] v, float[4] c>
        { h = Conv<pads = [1,1,1,1]>(x, w, b) r = Relu(h) f = Flatten(r) y = Gemm(f, v, c) }""",
}
Parse = Callable[[str], onnx.ModelProto]


@pytest.fixture
def no_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ridge keeps a fit from being exact."""
    monkeypatch.setattr("hwc.toolchain.structure.moments._RIDGE", 1e-7)


def session(model: ir.Model) -> Session:
    """A runner that computes the graph as it is written."""
    return Session(model, Options(1, optimise=False))


def samples_of(model: ir.Model, count: int, seed: int = 0) -> list[Sample]:
    rng = np.random.default_rng(seed)
    x = model.graph.inputs[0]
    assert x.shape is not None
    shape = (1, *(int(d) for d in list(x.shape)[1:] if isinstance(d, int)))
    return [Sample({"x": rng.normal(size=shape).astype(np.float32)}) for _ in range(count)]


def loaded(parse_graph: Parse, name: str) -> tuple[ir.Model, tuple[ChannelGroup, ...]]:
    proto = onnx.shape_inference.infer_shapes(parse_graph(HEAD + GRAPHS[name]))
    model = ir.from_proto(proto)
    found = find_groups(model)
    assert len(found.groups) == 1
    assert found.groups[0].units == 6
    return model, found.groups


def shaped(
    model: ir.Model, groups: Sequence[ChannelGroup], change: Callable[[Array], None]
) -> None:
    """Change what writes the units, as arrays with the units first."""
    for member in groups[0].members:
        if member.role == "writes":
            value = model.graph.initializers[member.constant]
            assert value.const_value is not None
            array = np.moveaxis(value.const_value.numpy().copy(), member.axis, 0)
            change(array)
            made = np.ascontiguousarray(np.moveaxis(array, 0, member.axis))
            value.const_value = ir.tensor(made, name=value.name)


def twins(array: Array) -> None:
    """After the ReLU, units 4 and 5 are multiples of units 0 and 2."""
    array[4], array[5] = 3.0 * array[0], 0.5 * array[2]


def outputs(model: ir.Model, samples: Sequence[Sample]) -> Array:
    run = session(model)
    return np.concatenate([run(sample.feeds)["y"] for sample in samples])


@pytest.mark.usefixtures("no_ridge")
@pytest.mark.parametrize("name", GRAPHS)
def test_what_follows_from_the_rest_is_not_missed(parse_graph: Parse, name: str) -> None:
    model, groups = loaded(parse_graph, name)
    shaped(model, groups, twins)
    moments = moments_of(model, groups, samples_of(model, 512), session)
    kept = {groups[0].name: np.arange(4)}
    fresh = samples_of(model, 16, seed=1)
    want = outputs(model, fresh)
    scale = np.abs(want).max()
    got = outputs(prune(refit(model, groups, kept, moments), groups, kept), fresh)
    assert np.abs(got - want).max() < EXACT * scale
    assert np.abs(outputs(prune(model, groups, kept), fresh) - want).max() > 50 * EXACT * scale


@pytest.mark.parametrize("name", GRAPHS)
def test_fresh_samples_are_nearer_with_it(parse_graph: Parse, name: str) -> None:
    model, groups = loaded(parse_graph, name)
    moments = moments_of(model, groups, samples_of(model, 512), session)
    kept = {groups[0].name: np.array([0, 2, 3, 5])}
    fresh = samples_of(model, 32, seed=1)
    want = outputs(model, fresh)

    def error(found: ir.Model) -> float:
        return float(np.square(outputs(prune(found, groups, kept), fresh) - want).mean())

    assert error(refit(model, groups, kept, moments)) < error(model)


def test_a_constant_unit_goes_into_the_bias(parse_graph: Parse) -> None:
    model, groups = loaded(parse_graph, "pointwise")

    def constant(array: Array) -> None:
        array[1] = 2.0 if array.ndim == 1 else 0.0

    shaped(model, groups, constant)
    kept = {groups[0].name: np.array([0, 2, 3, 4, 5])}
    moments = moments_of(model, groups, samples_of(model, 8), session)
    fresh = samples_of(model, 4, seed=1)
    got = outputs(prune(refit(model, groups, kept, moments), groups, kept), fresh)
    np.testing.assert_allclose(got, outputs(model, fresh), atol=1e-5)


def test_without_any_unit_the_mean_is_left(parse_graph: Parse) -> None:
    model, groups = loaded(parse_graph, "gemm")
    samples = samples_of(model, 8)
    moments = moments_of(model, groups, samples, session)
    fitted = refit(model, groups, {groups[0].name: np.arange(0)}, moments)
    bias = np.asarray(fitted.graph.initializers["c"].const_value)
    np.testing.assert_allclose(bias, outputs(model, samples).mean(0), rtol=1e-5, atol=1e-6)


def test_what_is_refitted_is_a_copy_and_nothing_else(parse_graph: Parse) -> None:
    model, groups = loaded(parse_graph, "conv")
    before = {name: value.const_value for name, value in model.graph.initializers.items()}
    moments = moments_of(model, groups, samples_of(model, 8), session)
    fitted = refit(model, groups, {groups[0].name: np.arange(4)}, moments)
    assert {n: v.const_value for n, v in model.graph.initializers.items()} == before
    changed = {n for n, v in fitted.graph.initializers.items() if v.const_value is not before[n]}
    assert changed == {"v", "c"}
    same = refit(model, groups, {}, moments)
    assert {n: v.const_value for n, v in same.graph.initializers.items()} == before


@pytest.mark.parametrize("name", ["conv", "gemm", "matmul"])
def test_samples_one_by_one_are_as_one_batch(parse_graph: Parse, name: str) -> None:
    model, groups = loaded(parse_graph, name)
    few = samples_of(model, 5)  # so few that no position is left out
    batch = [Sample({"x": np.concatenate([sample.feeds["x"] for sample in few])})]
    ((place, single),) = moments_of(model, groups, few, session).items()
    at_once = moments_of(model, groups, batch, session)[place]
    np.testing.assert_allclose(at_once.mean, single.mean, rtol=1e-5)
    np.testing.assert_allclose(at_once.second, single.second, rtol=1e-4, atol=1e-6)


def test_moments_are_those_of_padded_patches(parse_graph: Parse) -> None:
    model, groups = loaded(parse_graph, "conv")
    sample = samples_of(model, 1)[0]
    r = observer(model, ["r"], session)(sample.feeds)["r"][0]
    padded = np.pad(r, [(0, 0), (1, 1), (1, 1)])
    rows = [padded[:, i : i + 3, j : j + 3].ravel() for i in range(0, 9, 2) for j in range(0, 9, 2)]
    (found,) = moments_of(model, groups, [sample], session).values()
    np.testing.assert_allclose(found.mean, np.mean(rows, axis=0), rtol=1e-5)
    np.testing.assert_allclose(
        found.second, np.array(rows).T @ np.array(rows) / len(rows), rtol=1e-4, atol=1e-6
    )


@pytest.mark.usefixtures("no_ridge")
def test_wide_patches_share_one_map(parse_graph: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwc.toolchain.structure.readers._WIDEST", 53)
    model, groups = loaded(parse_graph, "conv")
    shaped(model, groups, twins)
    moments = moments_of(model, groups, samples_of(model, 32), session)
    ((place, found),) = moments.items()
    assert place == ("r", None)
    assert found.second.shape == (6, 6)
    kept = {groups[0].name: np.arange(4)}
    fresh = samples_of(model, 8, seed=1)
    want = outputs(model, fresh)
    got = outputs(prune(refit(model, groups, kept, moments), groups, kept), fresh)
    assert np.abs(got - want).max() < EXACT * np.abs(want).max()


@pytest.mark.parametrize("name", GRAPHS)
def test_a_weight_comes_back_from_its_matrix(parse_graph: Parse, name: str) -> None:
    model, groups = loaded(parse_graph, name)
    (reader,) = readers_of(model, groups)
    assert isinstance(reader, Reader)
    array = np.asarray(reader.weight.const_value)
    assert np.array_equal(reader.weight_of(reader.matrix(array), array), array)


def test_a_weight_of_two_nodes_stays(parse_graph: Parse) -> None:
    text = """g (float[N,9] x) => (float[N,4] y)
        <float[9,6] w, float[9,6] u, float[6,4] v>
        { h = MatMul(x, w) k = MatMul(x, u) a = MatMul(h, v) b = MatMul(k, v) y = Add(a, b) }"""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(parse_graph(HEAD + text)))
    assert list(readers_of(model, find_groups(model).groups)) == []


def test_least_squares_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(4000, 5)) @ rng.normal(size=(5, 5)) + 3.0
    moments = ChannelMoments(rows.mean(0), rows.T @ rows / len(rows))
    left, gone = np.array([0, 2, 3]), np.array([1, 4])
    design = np.column_stack([rows[:, left], np.ones(len(rows))])
    want = np.linalg.lstsq(design, rows[:, gone], rcond=None)[0]
    matrix, offset = moments.prediction(gone, left, offset=True)
    fitted = rows[:, left] @ matrix.T + offset
    best = ((design @ want - rows[:, gone]) ** 2).mean()
    assert ((fitted - rows[:, gone]) ** 2).mean() == pytest.approx(best, rel=1e-2)


def test_no_samples_are_refused(parse_graph: Parse) -> None:
    model, groups = loaded(parse_graph, "gemm")
    with pytest.raises(InputError, match="no samples"):
        moments_of(model, groups, [], session)


def test_infinity_is_refused_with_the_tensor(parse_graph: Parse) -> None:
    model, groups = loaded(parse_graph, "gemm")
    bad = [Sample({"x": np.full((1, 9), np.inf, np.float32)})]
    with pytest.raises(InputError, match="'r' is NaN or infinite"), np.errstate(all="ignore"):
        moments_of(model, groups, bad, session)
