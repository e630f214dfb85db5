"""Votes, shares of a budget, and sections."""

import numpy as np
import pytest
from hwc.toolchain.search.rl.agents import elect, within
from hwc.toolchain.search.rl.sections import sections
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work


def test_votes_multiply_probabilities_and_do_not_average_choices() -> None:
    one, other = np.log([[0.6, 0.1, 0.3]]), np.log([[0.3, 0.1, 0.6]])  # nobody wants the middle
    scores = [np.repeat(one, 20_000, 0), np.repeat(other, 20_000, 0)]
    allowed, rng = np.ones(3, bool), np.random.default_rng(0)
    drawn, surprise = elect(scores, np.full(2, 0.5), allowed, rng)
    wanted = np.sqrt([0.18, 0.01, 0.18]) / np.sqrt([0.18, 0.01, 0.18]).sum()
    assert np.bincount(drawn) / len(drawn) == pytest.approx(wanted, abs=0.01)
    assert surprise.sum(axis=1) == pytest.approx(np.zeros(len(drawn)))
    assert surprise[drawn == 0][0] == pytest.approx(np.array([1, 0, 0]) - wanted)


def test_a_heavier_vote_counts_more() -> None:
    scores = [np.log([[0.9, 0.1]]), np.log([[0.1, 0.9]])]
    _, surprise = elect(scores, np.array([0.75, 0.25]), np.ones(2, bool), np.random.default_rng(0))
    assert surprise.max() - 1.0 == pytest.approx(-0.75) or surprise.min() == pytest.approx(-0.75)


def test_what_is_not_allowed_is_never_drawn() -> None:
    allowed = np.array([[False, True, False]] * 50)
    scores = [np.array([[9.0, 0.0, 9.0]] * 50)]
    drawn, surprise = elect(scores, np.ones(1), allowed, np.random.default_rng(0))
    assert set(drawn.tolist()) == {1}
    assert (surprise == 0.0).all()


def test_a_section_leaves_what_others_need() -> None:
    masks = np.array([[True, True, False], [True, True, True]])
    slack = np.array([[0.1, 0.5, 0.9], [0.1, 0.2, 0.3]], np.float32)
    allowed = within(masks, slack, np.array([0.4, 0.8]))
    assert allowed.tolist() == [[False, True, False], [False, False, True]]  # or the cheapest


def _graph(count: int, skips: dict[int, int]) -> SlotGraph:
    work = Work(1, 1, 1, 1)
    slots = tuple(
        Slot(f"s{i}", "Conv", ((f"s{i}",),), (), (), (), "k", "conv", work, ())
        for i in range(count)
    )
    edges = [Edge("x", -1, (0,), 1)]
    for i in range(count):
        readers = {i + 1, skips.get(i, i + 1)} - {count}
        edges.append(Edge(f"t{i}", i, tuple(sorted(readers)), 1, is_output=i == count - 1))
    return SlotGraph(slots, tuple(edges))


@pytest.mark.parametrize(
    ("count", "skips", "most", "expected"),
    [
        (1, {}, 8, [0]),
        (3, {}, 8, [0, 1, 2]),
        (8, {}, 2, [0, 0, 0, 0, 1, 1, 1, 1]),
        (8, {2: 5}, 2, [0, 0, 0, 1, 1, 1, 1, 1]),
        (8, {0: 7}, 2, [0, 0, 0, 0, 1, 1, 1, 1]),
    ],
    ids=["one slot", "fewer slots than sections", "equal", "at a single tensor", "no cut near"],
)
def test_sections(count: int, skips: dict[int, int], most: int, expected: list[int]) -> None:
    assert sections(_graph(count, skips), most).tolist() == expected
