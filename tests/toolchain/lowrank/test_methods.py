"""Every method: exact at full rank, exact where the weight has that rank, better rank by rank."""

import math
import sys

import numpy as np
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.lowrank.error import weight_error
from hwc.toolchain.lowrank.factors import Floats, Method, Ranks, Whole
from hwc.toolchain.lowrank.methods import decompose, factorise, methods_of
from hypothesis import given, settings
from hypothesis import strategies as st

EXACT = 1e-12  # relative: closed forms in float64
FITTED = 1e-5  # relative: alternating least squares stop when they no longer gain 1e-7
SHAPE = (6, 4, 3, 3)
CLOSED = (Method.SVD, Method.SPATIAL, Method.TUCKER, Method.HIERARCHICAL)


def random(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape)


def tolerance(method: Method) -> float:
    return FITTED if method is Method.CP else EXACT


@pytest.mark.parametrize("method", Method)
def test_nothing_is_lost_at_full_rank(method: Method) -> None:
    weight = random(*SHAPE)
    found = decompose(weight, method)
    made = factorise(found, found.full, node="n")
    assert weight_error(weight, made) < tolerance(method)


def low_rank(method: Method) -> tuple[Floats, Ranks]:
    """A weight that is of low rank by construction, and its ranks."""
    match method:
        case Method.SVD:
            return np.einsum("or,rixy->oixy", random(8, 2), random(2, 5, 3, 3, seed=1)), (2,)
        case Method.SPATIAL:
            return np.einsum("orx,riy->oiyx", random(8, 2, 3), random(2, 5, 3, seed=1)), (2,)
        case Method.TUCKER:
            core = random(3, 2, 3, 3)
            return np.einsum("os,srxy,ir->oixy", random(8, 3), core, random(5, 2)), (3, 2)
        case Method.CP:
            factors = random(8, 2), random(5, 2, seed=1), random(3, 3, 2, seed=2)
            return np.einsum("or,ir,xyr->oixy", *factors), (2,)
        case Method.HIERARCHICAL:
            tucker, ranks = low_rank(Method.TUCKER)
            return tucker, (*ranks, 0, 0)


@pytest.mark.parametrize("method", Method)
def test_a_weight_of_low_rank_is_recovered(method: Method) -> None:
    weight, ranks = low_rank(method)
    made = factorise(decompose(weight, method), ranks, node="n")
    assert weight_error(weight, made) < tolerance(method)
    less = tuple(max(1, rank - 1) if rank else 0 for rank in ranks)
    assert weight_error(weight, factorise(decompose(weight, method), less, node="n")) > 0.1


@pytest.mark.parametrize("method", Method)
def test_the_error_falls_with_the_rank(method: Method) -> None:
    weight = random(*SHAPE)
    found = decompose(weight, method)
    steps = sorted({tuple(max(1, round(k * rank / 4)) for rank in found.full) for k in range(5)})
    errors = [weight_error(weight, factorise(found, ranks, node="n")) for ranks in steps]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.3


@pytest.mark.parametrize("method", Method)
def test_forms_are_those_of_the_factors(method: Method) -> None:
    found = decompose(random(*SHAPE), method)
    for share in (0.3, 0.7, 1.0):
        ranks = tuple(math.ceil(share * rank) for rank in found.full)
        made = factorise(found, ranks, node="n")
        assert made.forms == found.forms(ranks)
        assert made.ranks == ranks
        assert all(f.weight.shape == f.form.shape for chain in made.branches for f in chain)


@pytest.mark.parametrize("method", Method)
def test_a_weight_of_zeros_stays_one(method: Method) -> None:
    found = decompose(np.zeros(SHAPE), method)
    made = factorise(found, tuple(1 for _ in found.full), node="n")
    assert not made.weight().any()
    assert weight_error(np.zeros(SHAPE), made) == 0


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        pytest.param((6, 4), {Method.SVD}, id="matrix"),
        pytest.param((6, 4, 1, 1), {Method.SVD}, id="1x1"),
        pytest.param((6, 4, 3), {Method.SVD, Method.TUCKER, Method.CP}, id="1d"),
        pytest.param((6, 4, 3, 1), {Method.SVD, Method.TUCKER, Method.CP}, id="3x1"),
        pytest.param((6, 4, 3, 3), set(Method), id="3x3"),
        pytest.param((6, 4, 2, 2, 2), {Method.SVD, Method.TUCKER, Method.CP}, id="3d"),
    ],
)
def test_methods_suit_the_shape(shape: tuple[int, ...], expected: set[Method]) -> None:
    assert set(methods_of(shape)) == expected
    for method in methods_of(shape):
        found = decompose(random(*shape), method)
        assert factorise(found, (1,) * len(found.full), node="n").weight().shape == shape


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 2, *[st.integers(2, 4)] * 2),
    method=st.sampled_from(CLOSED),
    data=st.data(),
)
def test_any_rank_of_any_shape(shape: tuple[int, ...], method: Method, data: st.DataObject) -> None:
    weight = random(*shape)
    found = decompose(weight, method)
    ranks = tuple(data.draw(st.integers(1, rank)) for rank in found.full)
    made = factorise(found, ranks, node="n")
    assert made.weight().shape == shape
    assert weight_error(weight, made) <= 1 + EXACT
    assert made.forms == found.forms(ranks)


@pytest.mark.parametrize(
    ("method", "ranks", "said"),
    [
        (Method.SVD, (7,), r"conv1: rank 7 is above the full rank 6"),
        (Method.TUCKER, (6, 5), r"conv1: rank 6, 5 is above the full rank 6, 4"),
        (Method.CP, (25,), r"conv1: rank 25 is above the full rank 24"),
        (Method.SPATIAL, (13,), r"conv1: rank 13 is above the full rank 12"),
        (Method.SVD, (0,), r"conv1: rank 0 leaves nothing"),
        (Method.SVD, (-1,), r"conv1: rank -1 leaves nothing"),
        (Method.TUCKER, (3, 0), r"conv1: rank 3, 0 leaves nothing"),
        (Method.HIERARCHICAL, (0, 0, 0, 0), r"conv1: rank 0, 0, 0, 0 leaves nothing"),
        (Method.TUCKER, (3,), r"conv1: tucker takes 2 ranks, not 1"),
        (Method.SVD, (), r"conv1: svd takes 1 ranks, not 0"),
    ],
)
def test_ranks_that_a_weight_cannot_have(method: Method, ranks: Ranks, said: str) -> None:
    with pytest.raises(InputError, match=said):
        factorise(decompose(random(*SHAPE), method), ranks, node="conv1")


@pytest.mark.parametrize("refined", [False, True])
def test_a_level_works_on_what_those_before_it_left(*, refined: bool) -> None:
    weight = random(*SHAPE)
    ranks = (3, 3, 4, 6 if refined else 0)
    made = factorise(decompose(weight, Method.HIERARCHICAL), ranks, node="n")
    first = factorise(decompose(weight, Method.TUCKER), (3, 3), node="n").weight()
    second = factorise(decompose(weight - first, Method.SPATIAL), (4,), node="n").weight()
    left = weight - first - second
    errors = [np.linalg.norm(weight - first), np.linalg.norm(left)]
    total = first + second
    if refined:
        third = factorise(decompose(left, Method.CP), (6,), node="n").weight()
        total = total + third
        errors.append(np.linalg.norm(left - third))
    assert len(made.branches) == 2 + refined
    np.testing.assert_allclose(made.weight(), total, atol=1e-10)
    assert errors == sorted(errors, reverse=True)


def test_multiply_accumulates_of_a_strided_chain() -> None:
    whole = Whole("n", (8, 6, 3, 3), (10, 10), (5, 4))
    assert whole.macs == 8 * 6 * 9 * 20
    tucker = decompose(random(*whole.shape), Method.TUCKER).forms((3, 2))
    assert whole.macs_of(tucker) == 6 * 2 * 100 + 2 * 3 * 9 * 20 + 3 * 8 * 20
    spatial = decompose(random(*whole.shape), Method.SPATIAL).forms((2,))
    assert whole.macs_of(spatial) == 2 * 6 * 3 * 5 * 10 + 8 * 2 * 3 * 5 * 4
    cp = decompose(random(*whole.shape), Method.CP).forms((2,))
    assert whole.macs_of(cp) == 6 * 2 * 100 + 2 * 9 * 20 + 2 * 8 * 20


@pytest.mark.parametrize("method", [Method.TUCKER, Method.CP])
def test_without_tensorly_it_says_what_to_install(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorly", None)
    found = decompose(random(*SHAPE), method)
    with pytest.raises(InputError, match="hwc-compiler\\[lowrank\\]"):
        factorise(found, (1,) * len(found.full), node="n")
