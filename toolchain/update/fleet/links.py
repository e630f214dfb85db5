"""Links by which devices are reached: what they carry, what it costs, and when they are there."""

from dataclasses import dataclass

MBIT = 125_000  # bytes a second


@dataclass(frozen=True, slots=True)
class Link:
    """One class of links.

    Attributes:
        name: As an inventory names it.
        bandwidth: Bytes a second.
        price: Of a megabyte (10^6 bytes), in the currency of the plan.
        loss: Part of the packets that are lost and sent again, below 1.
        cuts: How often an hour the connection breaks while it is used.
        window: Hours of each period during which the device is reachable.
        period: Hours after which its windows repeat.
        poll: Hours between two questions whether there is anything new.
    """

    name: str
    bandwidth: float
    price: float
    loss: float
    cuts: float
    window: float = 24.0
    period: float = 24.0
    poll: float = 1.0


# Orders of magnitude to plan by until an inventory says better; none of them was measured.
LINKS = {
    link.name: link
    for link in (
        Link("ethernet", 50 * MBIT, 0.0, 0.0001, 0.01),
        Link("wifi", 10 * MBIT, 0.0, 0.005, 0.2),
        Link("lte", 4 * MBIT, 0.005, 0.01, 0.5, poll=4.0),
        Link("lte-m", 0.3 * MBIT, 0.05, 0.02, 1.0, poll=6.0),
        Link("satellite", 0.1 * MBIT, 1.0, 0.03, 2.0, 2.0, 12.0, 1.0),
        Link("depot", 10 * MBIT, 0.0, 0.01, 0.5, 8.0, 24.0, 1.0),  # vehicles, over night
        Link("visit", 10 * MBIT, 0.0, 0.01, 0.5, 6.0, 168.0, 1.0),  # when someone comes by
    )
}
