"""Cheapest paths of all groups of a fleet together, where making an update file is paid once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .matrix import Hop

_MB = 1e6
_HOUR = 3600.0
_PATHS = 200_000  # that a search looks for at most: about 20 s
_SLACK = 1e-9  # relative: sums in another order are the same sum

Path = tuple[Hop, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Devices that a plan cannot tell apart.

    Attributes:
        seq: Of what they have; None where that is unknown, so that only full files serve them.
        devices: How many.
        price: Of a megabyte to them.
        memory: Bytes that each can spare; None: any.
    """

    seq: int | None
    devices: int
    price: float
    memory: int | None

    def takes(self, hop: Hop) -> bool:
        """Whether the file fits their memory."""
        return self.memory is None or hop.memory <= self.memory

    def without_limit(self) -> "Group":
        """The same with memory enough."""
        return replace(self, memory=None)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a plan is judged by, in the currency of the inventory's prices.

    Attributes:
        egress: Of a megabyte (10^6 bytes) that leaves the server.
        cpu: Of an hour of one processor of the server.
    """

    egress: float = 5e-5
    cpu: float = 0.05

    def sending(self, hop: Hop, group: Group) -> float:
        """Cost of sending a file to a whole group."""
        return hop.size / _MB * (group.price + self.egress) * group.devices

    def making(self, hop: Hop) -> float:
        """Cost of making a file; 0 where it is there."""
        return hop.cpu / _HOUR * self.cpu


@dataclass(frozen=True, slots=True)
class Solution:
    """The path of each group (None: there is none), and whether nothing cheaper exists."""

    paths: tuple[Path | None, ...]
    cost: float
    optimal: bool


def cheapest_path(
    group: Group,
    hops: Sequence[Hop],
    *,
    target: int,
    prices: Prices,
    charges: Mapping[Hop, float],
) -> Path | None:
    """The cheapest way of one group to the target; among equals the fewest bytes, then files.

    Args:
        group: Devices.
        hops: The files that may be used; those of which a base is needed lead to a higher `seq`.
        target: `seq` to come to.
        prices: What sending costs.
        charges: What the use of a file costs this group for each of its devices beside.
    """
    if group.seq is not None and group.seq >= target:
        return ()
    best: dict[int | None, tuple[tuple[float, int, int], Path]] = {target: ((0.0, 0, 0), ())}
    full = [hop for hop in hops if hop.base is None and hop.target == target]
    deltas = sorted((hop for hop in hops if hop.base is not None), key=lambda hop: -(hop.base or 0))
    for hop in (*deltas, *full):
        if hop.target not in best or not group.takes(hop):
            continue
        (cost, size, files), path = best[hop.target]
        cost += prices.sending(hop, group) + charges.get(hop, 0.0) * group.devices
        found = ((cost, size + hop.size, files + 1), (hop, *path))
        if hop.base not in best or found[0] < best[hop.base][0]:
            best[hop.base] = found
    ways = [best[start] for start in {group.seq, None} if start in best]
    return min(ways, key=lambda way: way[0])[1] if ways else None


def solve(groups: Sequence[Group], hops: Sequence[Hop], *, target: int, prices: Prices) -> Solution:
    """The cheapest paths of all groups together, by branch and bound.

    A file that is to be made costs once, however many groups use it. Left open, its cost is spread
    over all devices that could come by it: no plan costs less than every group's cheapest path
    then, and where the files used are used by all of these, none costs more. Otherwise the file
    with the largest gap is decided: paid for, or left out.
    """
    search = _Search(groups, hops, target, prices)
    root = _Node(frozenset(), frozenset())
    paths = search.relaxed(root)[1]
    best = Solution(paths, search.cost(paths), optimal=True)
    open_nodes = [root]
    for _ in range(max(1, _PATHS // max(1, len(groups)))):
        if not open_nodes:
            break
        node = open_nodes.pop()
        bound, paths = search.relaxed(node)
        if _stranded(paths) > _stranded(best.paths) or bound >= best.cost * (1 - _SLACK):
            continue
        if (cost := search.cost(paths)) < best.cost:
            best = Solution(paths, cost, optimal=True)
        if (hop := search.widest(paths, node)) is not None:
            open_nodes += [node.without(hop), node.paying(hop)]
    return replace(best, optimal=not open_nodes)


def _stranded(paths: Sequence[Path | None]) -> int:
    """Groups that no file leads to the target; leaving one out must not make more of them."""
    return sum(path is None for path in paths)


@dataclass(frozen=True, slots=True)
class _Node:
    """Files that are decided: paid for, or left out."""

    paid: frozenset[Hop]
    out: frozenset[Hop]

    def paying(self, hop: Hop) -> "_Node":
        return replace(self, paid=self.paid | {hop})

    def without(self, hop: Hop) -> "_Node":
        return replace(self, out=self.out | {hop})


class _Search:
    """What all nodes of one search share."""

    def __init__(
        self, groups: Sequence[Group], hops: Sequence[Hop], target: int, prices: Prices
    ) -> None:
        self._groups, self._hops = groups, hops
        self._target, self._prices = target, prices
        self._making = {hop: prices.making(hop) for hop in hops if not hop.path}
        self._reach = {hop: sum(g.devices for g in groups if _may_use(g, hop)) for hop in hops}

    def relaxed(self, node: _Node) -> tuple[float, tuple[Path | None, ...]]:
        """A bound from below on all plans of the node, and the paths that it comes from."""
        charges = {
            hop: cost / max(1, self._reach[hop])
            for hop, cost in self._making.items()
            if hop not in node.paid
        }
        hops = [hop for hop in self._hops if hop not in node.out]
        total = sum(self._making[hop] for hop in node.paid)
        paths: list[Path | None] = []
        for group in self._groups:
            path = cheapest_path(
                group, hops, target=self._target, prices=self._prices, charges=charges
            )
            paths.append(path)
            for hop in path or ():
                total += self._prices.sending(hop, group) + charges.get(hop, 0.0) * group.devices
        return total, tuple(paths)

    def cost(self, paths: Sequence[Path | None]) -> float:
        """What the paths really cost."""
        pairs = [
            (group, hop)
            for group, path in zip(self._groups, paths, strict=True)
            for hop in path or ()
        ]
        sending = sum(self._prices.sending(hop, group) for group, hop in pairs)
        return sending + sum(self._making.get(hop, 0.0) for hop in {hop for _, hop in pairs})

    def widest(self, paths: Sequence[Path | None], node: _Node) -> Hop | None:
        """The open file of which most was not charged; None where all was."""
        users: dict[Hop, int] = {}
        for group, path in zip(self._groups, paths, strict=True):
            for hop in path or ():
                users[hop] = users.get(hop, 0) + group.devices
        gaps = {
            hop: self._making[hop] * (1 - count / self._reach[hop])
            for hop, count in users.items()
            if hop in self._making and hop not in node.paid and count < self._reach[hop]
        }
        return max(gaps, key=lambda hop: gaps[hop]) if gaps else None


def _may_use(group: Group, hop: Hop) -> bool:
    """Whether a path of the group could hold the file."""
    if hop.base is not None and (group.seq is None or group.seq > hop.base):
        return False
    return group.takes(hop)
