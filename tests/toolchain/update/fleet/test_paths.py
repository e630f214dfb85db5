"""Branch and bound finds what trying every set of files finds."""

from itertools import combinations, pairwise
from random import Random

import pytest
from hwc.toolchain.update.fleet.matrix import Hop
from hwc.toolchain.update.fleet.paths import Group, Path, Prices, cheapest_path, solve

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


def fleet(seed: int) -> tuple[list[Group], list[Hop]]:
    """A few groups, and most of the files between four releases."""
    chance = Random(seed)  # noqa: S311 - no secret
    ends: list[tuple[int | None, int]] = [(None, TARGET)]
    ends += [(base, new) for new in range(2, TARGET + 1) for base in range(1, new)]
    hops = []
    for base, new in ends:
        path = chance.choice(["u.hwcu", "", ""])
        cpu = 0.0 if path else chance.random() * 0.15 * 3600
        size, memory = chance.randint(1, 50) * 100_000, chance.randint(1, 9)
        hops.append(Hop(base, new, size, cpu, memory, 1.0, path))
    groups = [
        Group(
            chance.choice([None, 1, 1, 2, 2, 3, 3, 4, 5]),
            chance.randint(1, 5),
            chance.choice([0.0, 0.01]),
            chance.choice([None, None, 5]),
        )
        for _ in range(chance.randint(1, 5))
    ]
    return groups, chance.sample(hops, chance.randint(3, len(hops)))


@pytest.mark.parametrize("seed", range(150))
def test_solve_is_exact(seed: int) -> None:
    groups, hops = fleet(seed)
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


def test_a_file_is_not_made_at_the_expense_of_devices_that_do_not_use_it() -> None:
    """The spread cost is half of it, for the others could come by; yet one device pays it all."""
    full = Hop(None, TARGET, 5_000_000, 0.0, 0, 1.0, "full")
    direct = Hop(1, TARGET, 100_000, 0.0, 0, 1.0, "direct")
    delta = Hop(3, TARGET, 1_000_000, 0.06 * 3600, 0, 1.0)
    groups = [Group(1, 1, 0.0, None), Group(3, 1, 0.0, None)]
    found = solve(groups, [full, direct, delta], target=TARGET, prices=PRICES)
    assert found.paths == ((direct,), (full,))


def test_free_bytes_are_still_spared() -> None:
    small = Hop(3, TARGET, 10, 0.0, 0, 1.0, "small")
    large = Hop(None, TARGET, 99, 0.0, 0, 1.0, "large")
    free = Prices(egress=0.0, cpu=0.0)
    found = solve([Group(3, 5, 0.0, None)], [large, small], target=TARGET, prices=free)
    assert found.paths == ((small,),)
