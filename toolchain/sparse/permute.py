"""The order of input channels in which 2:4 sparsity keeps the most magnitude."""

import numpy as np
import numpy.typing as npt

from .pattern import OF, Floats

Order = npt.NDArray[np.intp]

MOST_ROWS = 512  # that the search looks at; the result is judged by all of them
ESCAPES = 40  # times that it may go on from a worse order
_SWAPS = 2  # random ones of an escape
_ROUNDING = 1e-5  # a gain below this part of what is kept may come from adding in float32


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
    search = _Search(np.ascontiguousarray(seen.T))
    search.climb(np.arange(count // OF))
    best, kept = search.order.copy(), search.total
    for _ in range(escapes):
        search.climb(search.stray(rng))
        if search.total > kept:
            best, kept = search.order.copy(), search.total
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

    def __init__(self, channels: Floats) -> None:
        count = len(channels)
        self.channels = channels
        self.order = np.arange(count)
        self.kept = np.zeros(count // OF, np.float32)
        self.worth = np.zeros((count, count), np.float32)
        self.weigh(np.arange(count // OF))

    @property
    def total(self) -> float:
        """What all groups keep."""
        return float(self.kept.sum(dtype=np.float64))

    def weigh(self, groups: Order) -> None:
        """Work out what groups keep, and what any channel would be worth in them."""
        for group in groups:
            places = np.arange(OF * group, OF * group + OF)
            members = self.channels[self.order[places]]
            for i, place in enumerate(places):
                others = np.sort(np.delete(members, i, axis=0), axis=0)
                self.worth[place] = np.maximum(self.channels, others[1]).sum(axis=1)
                self.worth[place] += others[2].sum()
            self.kept[group] = self.worth[places[0], self.order[places[0]]]

    def climb(self, groups: Order) -> None:
        """Swap as long as it gains, the best of each two groups at a time.

        Args:
            groups: Where something may be gained; of two groups that did not change since no swap
                gained, no swap gains.
        """
        while len(groups):
            swaps = self._gaining(groups)
            for one, other in swaps:
                self.order[[one, other]] = self.order[[other, one]]
            groups = np.unique(np.array(swaps, np.intp)) // OF
            self.weigh(groups)

    def stray(self, rng: np.random.Generator) -> Order:
        """Swap a few channels at random; returns the groups that they are of."""
        places = rng.choice(len(self.order), (_SWAPS, 2), replace=False)
        self.order[places] = self.order[places[:, ::-1]]
        groups = np.unique(places // OF)
        self.weigh(groups)
        return groups

    def place(self, order: Order) -> None:
        """Go back to another order."""
        moved = np.unique(np.flatnonzero(self.order != order) // OF)
        self.order = order.copy()
        self.weigh(moved)

    def _gaining(self, groups: Order) -> list[tuple[int, int]]:
        """Swaps with a place of some groups that gain, the best first, no two of them in one."""
        places = (OF * groups[:, None] + np.arange(OF)).reshape(-1)
        home = np.arange(len(self.order)) // OF
        now = self.kept[home[places]][:, None] + self.kept[home][None, :]
        gain = self.worth[places][:, self.order] + self.worth[:, self.order[places]].T - now
        gain[home[places][:, None] == home[None, :]] = 0.0
        firsts, seconds = np.nonzero(gain > _ROUNDING * now)
        best = np.argsort(-gain[firsts, seconds], kind="stable")
        taken: set[int] = set()
        swaps: list[tuple[int, int]] = []
        pairs = zip(places[firsts[best]].tolist(), seconds[best].tolist(), strict=True)
        for one, other in pairs:
            pair = {one // OF, other // OF}
            if not pair & taken:
                taken |= pair
                swaps.append((one, other))
        return swaps
