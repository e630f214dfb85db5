"""Which entries along the axes of tensors are one channel: identities that are united."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .groups import Role

Ids = npt.NDArray[np.intp]
Axes = list[Ids | None]  # an identity for each entry of each axis; None: of no channel, it stays


@dataclass(frozen=True, slots=True)
class Place:
    """One axis of a constant, as a node reads it."""

    constant: str
    axis: int
    role: Role
    node: str


@dataclass(slots=True)
class Channels:
    """Identities, which of them are one, and which must stay.

    Attributes:
        constants: The identities along an axis of a constant.
        pinned: Why an identity must stay, and which node says so.
    """

    constants: dict[Place, Ids] = field(default_factory=dict)
    pinned: dict[int, tuple[str, str]] = field(default_factory=dict)
    _parents: list[int] = field(default_factory=list)

    def fresh(self, count: int) -> Ids:
        """New identities; shape (count,)."""
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def root(self, identity: int) -> int:
        """The identity that stands for all that are one with it."""
        parents = self._parents
        while parents[identity] != identity:
            parents[identity] = parents[parents[identity]]
            identity = parents[identity]
        return identity

    def roots(self, ids: Ids) -> Ids:
        """What stands for each; shape of `ids`."""
        return np.array([self.root(int(i)) for i in ids], np.intp)

    def unite(self, first: Ids | None, second: Ids | None, node: str) -> Ids | None:
        """Make two axes one, entry by entry; what is united with an axis that stays, stays."""
        if first is None or second is None:
            self.pin([first, second], node, "it meets an axis that stays as it is")
            return None
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self.root(a), self.root(b)))
            self._parents[high] = low
        return first

    def unite_rows(self, table: Ids) -> Ids:
        """Make each row of identities one; shape (rows, columns) in, (rows,) out."""
        for column in table.T[1:]:
            self.unite(table[:, 0], column, "")
        return table[:, 0]

    def pin(self, axes: Iterable[Ids | None], node: str, why: str) -> None:
        """Say that channels must stay."""
        for ids in axes:
            for identity in () if ids is None else ids.tolist():
                self.pinned.setdefault(identity, (node, why))

    def constant(self, place: Place, ids: Ids) -> None:
        """Note the identities along an axis of a constant; several nodes may read the same one."""
        for other, known in self.constants.items():
            if (other.constant, other.axis) == (place.constant, place.axis):
                self.unite(known, ids, place.node)
        self.constants[place] = ids
