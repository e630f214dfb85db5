"""Branch and bound finds what trying every set of files finds."""

from itertools import combinations, pairwise

import pytest
from hwc.toolchain.update.fleet.matrix import Hop
from hwc.toolchain.update.fleet.paths import Group, Path, Prices, cheapest_path, solve
from hypothesis import given, settings
from hypothesis import strategies as st

TARGET = 4
PRICES = Prices(egress=0.01, cpu=1.0)


def exhaustive(groups: list[Group], hops: list[Hop]) -> tuple[int, float]:
    """Groups without a way, and the least cost of the others, over all sets of files to make."""
    there = [hop for hop in hops if hop.path]
    possible = [hop for hop in hops if not hop.path]
    found = []
    for count in range(len(possible) + 1):
        for made in combinations(possible, count):
            paths = [path_of(group, [*there, *made]) for group in groups]
            sending = sum(
                PRICES.sending(hop, group)
                for group, path in zip(groups, paths, strict=True)
                for hop in path or ()
            )
            making = sum(PRICES.making(hop) for hop in made)
            found.append((sum(path is None for path in paths), sending + making))
    return min(found)


def path_of(group: Group, hops: list[Hop]) -> Path | None:
    """The cheapest, where making costs nothing."""
    return cheapest_path(group, hops, target=TARGET, prices=PRICES, charges={})


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Group], list[Hop]]:
    """A few groups, and some of the files between four releases."""
    ends = [(base, new) for new in range(2, TARGET + 1) for base in range(1, new)]
    ends = draw(st.lists(st.sampled_from(ends), unique=True, max_size=6))
    sizes, costs = st.integers(1, 9), st.integers(1, 9)
    hops = []
    for base, new in [*ends, *draw(st.sampled_from([[], [(None, TARGET)]]))]:
        path = draw(st.sampled_from(["", "u.hwcu"]))
        cpu = 0.0 if path else draw(costs) * 3.6
        hops.append(Hop(base, new, draw(sizes) * 100_000, cpu, draw(sizes), 1.0, path))
    group = st.builds(
        Group,
        st.sampled_from([None, 1, 2, 3, 4, 5]),
        st.integers(1, 3),
        st.sampled_from([0.0, 0.01]),
        st.sampled_from([None, 5]),
    )
    return draw(st.lists(group, min_size=1, max_size=4)), hops


@settings(max_examples=400, deadline=None)
@given(fleets())
def test_solve_is_exact(fleet: tuple[list[Group], list[Hop]]) -> None:
    groups, hops = fleet
    solution = solve(groups, hops, target=TARGET, prices=PRICES)
    stranded, cost = exhaustive(groups, hops)
    assert solution.optimal
    assert sum(path is None for path in solution.paths) == stranded
    assert solution.cost == pytest.approx(cost)
    for group, path in zip(groups, solution.paths, strict=True):
        check(group, path)


def check(group: Group, path: Path | None) -> None:
    """A path begins at what is installed, or at nothing, ends at the target, and fits."""
    if path:
        assert path[0].base in {None, group.seq}
        assert path[-1].target == TARGET
        assert all(a.target == b.base for a, b in pairwise(path))
        assert all(group.takes(hop) for hop in path)


def test_a_file_that_two_groups_share_is_paid_once() -> None:
    """Neither group alone pays for its making; both together do."""
    full = Hop(None, TARGET, 1_000_000, 0.0, 0, 1.0, "full")
    delta = Hop(3, TARGET, 100_000, 0.015 * 3600, 0, 1.0)
    alone, other = Group(3, 1, 0.0, None), Group(3, 1, 0.001, None)
    assert solve([alone], [full, delta], target=TARGET, prices=PRICES).paths == ((full,),)
    both = solve([alone, other], [full, delta], target=TARGET, prices=PRICES)
    assert both.paths == ((delta,), (delta,))
    assert both.cost == pytest.approx(0.015 + 0.1 * 0.01 + 0.1 * 0.011)


def test_free_bytes_are_still_spared() -> None:
    small = Hop(3, TARGET, 10, 0.0, 0, 1.0, "small")
    large = Hop(None, TARGET, 99, 0.0, 0, 1.0, "large")
    free = Prices(egress=0.0, cpu=0.0)
    found = solve([Group(3, 5, 0.0, None)], [large, small], target=TARGET, prices=free)
    assert found.paths == ((small,),)
