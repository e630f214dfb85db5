"""The order of input channels in which 2:4 sparsity keeps the most magnitude."""

from typing import Self

import numpy as np
import numpy.typing as npt

from .pattern import OF, Floats

Order = npt.NDArray[np.intp]

MOST_ROWS = 512  # that the search looks at; the result is judged by all of them
ESCAPES = 40  # times that it may go on from a worse order
_SWAPS = 2  # random ones of an escape


def retained(scores: Floats, order: Order | None = None) -> float:
    """The sum of what 2:4 keeps of scores in an order of their columns.

    Args:
        scores: What each weight counts; shape (rows, channels).
        order: Which channel is where; None: as they are.
    """
    placed = scores if order is None else scores[:, order]
    pairs = np.sort(placed.reshape(len(scores), -1, OF), axis=2)[..., -2:]
    return float(pairs.sum(dtype=np.float64))


def best_order(scores: Floats, *, escapes: int = ESCAPES, seed: int = 0) -> Order:
    """Search for an order under which 2:4 keeps more than under the one that is.

    Greedy swaps of two channels, the best first, and from where no swap gains a bounded number of
    random steps back (Pool and Yu 2021, "Channel permutations for N:M sparsity").

    Args:
        scores: What each weight counts; shape (rows, channels), channels a multiple of four. For
            several readers of the same channels: one below the other.
        escapes: How often to go on from a worse order.
        seed: Of the random steps, and of the rows that are looked at where there are many.

    Returns:
        Which channel comes where, shape (channels,); never one that keeps less.
    """
    rng = np.random.default_rng(seed)
    count = scores.shape[1]
    identity = np.arange(count)
    if count <= OF:
        return identity
    rows = len(scores)
    seen = scores if rows <= MOST_ROWS else scores[rng.choice(rows, MOST_ROWS, replace=False)]
    search = _Search.of(np.ascontiguousarray(seen.T))
    search.climb()
    best, kept = search.order.copy(), search.kept.sum()
    for _ in range(escapes):
        search.stray(rng)
        search.climb()
        if search.kept.sum() > kept:
            best, kept = search.order.copy(), search.kept.sum()
        else:
            search.place(best)
    return best if retained(scores, best) > retained(scores) else identity


class _Search:
    """One order on its way up.

    With the best two of the three others in a group, m1 >= m2, a channel c in the place of the
    fourth makes the group keep m1 + max(m2, c), row by row; so what every channel would be worth in
    every place is one table, of which a swap changes eight rows.

    Attributes:
        channels: What each weight counts; shape (channels, rows).
        order: The channel in each place; shape (channels,).
        kept: What each group of four keeps; shape (channels / 4,).
        worth: What a place's group would keep with a channel there; shape (places, channels).
    """

    def __init__(self, channels: Floats, order: Order) -> None:
        count = len(channels)
        self.channels = channels
        self.order = order
        self.kept = np.zeros(count // OF)
        self.worth = np.zeros((count, count))

    @classmethod
    def of(cls, channels: Floats) -> Self:
        """Start from the order that is."""
        search = cls(channels, np.arange(len(channels)))
        search.weigh(range(len(channels) // OF))
        return search

    def weigh(self, groups: range | tuple[int, ...]) -> None:
        """Work out what groups keep, and what any channel would be worth in them."""
        for group in groups:
            places = range(OF * group, OF * group + OF)
            members = self.channels[self.order[OF * group : OF * group + OF]]
            for place in places:
                others = np.sort(np.delete(members, place - OF * group, axis=0), axis=0)
                with_any = np.maximum(self.channels, others[1]).sum(axis=1, dtype=np.float64)
                self.worth[place] = with_any + others[2].sum(dtype=np.float64)
            self.kept[group] = self.worth[places[0], self.order[places[0]]]

    def climb(self) -> None:
        """Swap as long as it gains, the best of each two groups at a time."""
        least = 1e-6 * float(self.kept.mean())  # below it is rounding
        while True:
            swaps = self._gaining(least)
            if not swaps:
                return
            for one, other in swaps:
                self.order[[one, other]] = self.order[[other, one]]
            self.weigh(tuple(place // OF for swap in swaps for place in swap))

    def stray(self, rng: np.random.Generator) -> None:
        """Swap a few channels at random."""
        for _ in range(_SWAPS):
            one, other = rng.choice(len(self.order), 2, replace=False)
            self.order[[one, other]] = self.order[[other, one]]
            self.weigh((int(one) // OF, int(other) // OF))

    def place(self, order: Order) -> None:
        """Go back to another order."""
        moved = np.flatnonzero(self.order != order) // OF
        self.order = order.copy()
        self.weigh(tuple(int(group) for group in np.unique(moved)))

    def _gaining(self, least: float) -> list[tuple[int, int]]:
        """Swaps that gain, the best first, no two of them in one group."""
        there = self.worth[:, self.order]
        gain = there + there.T
        groups = np.arange(len(self.order)) // OF
        gain -= self.kept[groups][:, None] + self.kept[groups][None, :]
        gain[groups[:, None] >= groups[None, :]] = 0.0  # also swaps within a group
        firsts, seconds = np.nonzero(gain > least)
        best = np.argsort(-gain[firsts, seconds], kind="stable")
        taken: set[int] = set()
        swaps: list[tuple[int, int]] = []
        for one, other in zip(firsts[best].tolist(), seconds[best].tolist(), strict=True):
            pair = {one // OF, other // OF}
            if not pair & taken:
                taken |= pair
                swaps.append((one, other))
        return swaps
