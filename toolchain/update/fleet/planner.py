"""Which update files each installed release is to be sent, and which are worth making."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from .inventory import Device
from .matrix import Hop, Matrix
from .paths import Group, Prices, Solution, cheapest_path, solve


class Way(StrEnum):
    """How a device comes to the newest release."""

    FULL = "full"
    DIRECT = "direct"
    CHAIN = "chain"
    NONE = "none"


class Reason(StrEnum):
    """Why, in a word."""

    CURRENT = "current"  # the newest is there
    AHEAD = "ahead"  # what is there is newer than the repository's: an agent never goes back
    CHEAPEST = "cheapest"
    ONLY = "only"  # nothing else leads to the newest
    MEMORY = "memory"  # what is cheaper needs more memory than these devices have
    MAKING = "making"  # what is cheaper to send is not worth making for so few
    STUCK = "stuck"  # nothing leads there, or nothing that fits the memory


@dataclass(frozen=True, slots=True)
class Choice:
    """What one group of like devices gets.

    Attributes:
        installed: As the inventory says it.
        seq: Of that release; None where the repository does not know it.
        devices: How many.
        price: Of a megabyte to them.
        memory: Bytes that each can spare; None where that is not known.
        hops: The update files, in order.
        way: What that is.
        reason: Why.
        cost: Of sending it to all of them.
    """

    installed: int | str
    seq: int | None
    devices: int
    price: float
    memory: int | None
    hops: tuple[Hop, ...]
    way: Way
    reason: Reason
    cost: float

    @property
    def size(self) -> int:
        """Bytes to each device."""
        return sum(hop.size for hop in self.hops)

    @property
    def seconds(self) -> float:
        """That each device takes to apply them."""
        return sum(hop.seconds for hop in self.hops)


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What a whole fleet gets.

    Attributes:
        product: Of these devices.
        newest: `seq` that they are brought to.
        choices: For each group.
        make: The update files that are not there and are worth making.
        making: Cost of making them.
        optimal: Whether no cheaper plan exists under these figures; otherwise the search was cut.
    """

    product: str
    newest: int
    choices: tuple[Choice, ...]
    make: tuple[Hop, ...]
    making: float
    optimal: bool

    @property
    def cost(self) -> float:
        """Of sending and making."""
        return sum(choice.cost for choice in self.choices) + self.making

    @property
    def wire(self) -> int:
        """Bytes to all devices together."""
        return sum(choice.size * choice.devices for choice in self.choices)

    def served(self, hop: Hop) -> int:
        """Devices that get an update file."""
        return sum(choice.devices for choice in self.choices if hop in choice.hops)


def plan_fleet(matrix: Matrix, devices: Sequence[Device], prices: Prices) -> FleetPlan:
    """Choose for all devices of the matrix's product at once; deltas to make are shared by them.

    Args:
        matrix: The update files that are there or could be made.
        devices: Of that product.
        prices: What counts.
    """
    like = Counter((device.installed, device.link.price, device.memory) for device in devices)
    kinds = sorted(like.items(), key=lambda item: _order(matrix, item[0]))
    groups = [
        Group(matrix.seq_of(installed), count, price, memory)
        for (installed, price, memory), count in kinds
    ]
    solution = solve(groups, matrix.hops, target=matrix.newest, prices=prices)
    choices = tuple(
        _choice(kind[0], group, hops, matrix, prices)
        for (kind, _), group, hops in zip(kinds, groups, solution.paths, strict=True)
    )
    make = _made(solution)
    making = sum(prices.making(hop) for hop in make)
    return FleetPlan(matrix.product, matrix.newest, choices, make, making, solution.optimal)


def ways(matrix: Matrix, seq: int) -> dict[Way, int]:
    """The fewest bytes by which a device with this release comes to the newest, by each way."""
    deltas = [hop for hop in matrix.hops if hop.base is not None]
    direct = [hop for hop in deltas if (hop.base, hop.target) == (seq, matrix.newest)]
    among = {
        Way.FULL: [hop for hop in matrix.hops if hop.base is None],
        Way.DIRECT: direct,
        Way.CHAIN: [hop for hop in deltas if hop not in direct],
    }
    device, bytes_alone = Group(seq, 1, 0.0, None), Prices(egress=1.0, cpu=0.0)
    found = {
        way: cheapest_path(device, hops, target=matrix.newest, prices=bytes_alone, charges={})
        for way, hops in among.items()
    }
    return {way: sum(hop.size for hop in path) for way, path in found.items() if path}


def _order(
    matrix: Matrix, kind: tuple[int | str, float, int | None]
) -> tuple[int, str, float, int]:
    installed, price, memory = kind
    seq = matrix.seq_of(installed)
    return (-1 if seq is None else seq, str(installed), price, -1 if memory is None else memory)


def _made(solution: Solution) -> tuple[Hop, ...]:
    used = {hop for path in solution.paths for hop in path or () if not hop.path}
    return tuple(sorted(used, key=lambda hop: (hop.target, hop.base or 0)))


def _choice(
    installed: int | str,
    group: Group,
    hops: tuple[Hop, ...] | None,
    matrix: Matrix,
    prices: Prices,
) -> Choice:
    way, reason = _explain(group, hops, matrix, prices)
    return Choice(
        *(installed, group.seq, group.devices, group.price, group.memory),
        hops=hops or (),
        way=way,
        reason=reason,
        cost=sum(prices.sending(hop, group) for hop in hops or ()),
    )


def _explain(
    group: Group, hops: tuple[Hop, ...] | None, matrix: Matrix, prices: Prices
) -> tuple[Way, Reason]:
    if group.seq is not None and group.seq >= matrix.newest:
        return Way.NONE, Reason.CURRENT if group.seq == matrix.newest else Reason.AHEAD
    if hops is None:
        return Way.NONE, Reason.STUCK
    way = Way.FULL if hops[0].base is None else Way.DIRECT if len(hops) == 1 else Way.CHAIN
    return way, _reason(group, hops, matrix, prices)


def _reason(group: Group, hops: tuple[Hop, ...], matrix: Matrix, prices: Prices) -> Reason:
    """Compare with what would be sent if memory, or making, were no matter."""
    target, free = matrix.newest, dict[Hop, float]()

    def best(of: Group, among: Sequence[Hop]) -> tuple[Hop, ...] | None:
        return cheapest_path(of, among, target=target, prices=prices, charges=free)

    def dearer(than: tuple[Hop, ...] | None) -> bool:
        ours, theirs = (
            sum(prices.sending(hop, group) for hop in way or ()) for way in (hops, than)
        )
        return ours > theirs and not math.isclose(ours, theirs)

    roomy = group.without_limit()
    if dearer(best(group, matrix.hops)):
        return Reason.MAKING
    if dearer(best(roomy, matrix.hops)):
        return Reason.MEMORY
    others = [best(roomy, [hop for hop in matrix.hops if hop is not used]) for used in hops]
    return Reason.ONLY if not any(others) else Reason.CHEAPEST
