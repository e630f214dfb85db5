"""Times for the kernels that a latency table does not hold, borrowed from those that it holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..slots import Work
from .borrow_group import Group, Kernel
from .borrow_trend import Guess, scaled
from .observed import ALONE


@dataclass(frozen=True, slots=True)
class Known:
    """A kernel of the table: `key`, `kind` and `work` of a `Slot`, the choice and the time."""

    key: str
    kind: str
    work: Work
    choice: str
    us: float


@dataclass(frozen=True, slots=True)
class Borrowed:
    """A time and the range that held most left-out times (`borrow_trend.COVERAGE`).

    Attributes:
        us: The time, in microseconds.
        low: The lowest that is likely.
        high: The highest that is likely.
        from_key: The nearest measured kernel; the asked one itself, and no range, where it was
            measured.
    """

    us: float
    low: float
    high: float
    from_key: str


@dataclass(frozen=True, slots=True, eq=False)
class Borrower:
    """Scales the times of measured kernels to others by their work.

    Under each choice, a trend through all that multiplies matrices, and one through all else, says
    what a launch, a multiply-accumulate, a weight and an element cost; the nearest kernels correct
    it: those of the same class and ops, and alike in work. How far off that is was learned by
    leaving out each kernel in turn.

    Attributes:
        known: The measured times, by key and choice.
        groups: What they teach, by whether a kernel multiplies, and by choice.
    """

    known: Mapping[tuple[str, str], float]
    groups: Mapping[tuple[bool, str], Group]

    @classmethod
    def fit(cls, rows: Iterable[Known]) -> Self:
        """Learn from kernels; of rows that agree in key and choice the last counts."""
        last = {(row.key, row.choice): row for row in rows}
        riding = {key for key, choice in last if choice == ALONE}
        members: dict[tuple[bool, str], dict[Kernel, float]] = {}
        for row in last.values():
            kernel = Kernel(row.key, row.kind, row.work)
            # What rides on another's kernel takes nothing there: that says nothing of its work.
            if row.choice == ALONE or row.key not in riding:
                members.setdefault((kernel.multiplies, row.choice), {})[kernel] = row.us
        groups = {place: Group.fit(times) for place, times in members.items()}
        return cls({place: row.us for place, row in last.items()}, groups)

    def time(self, key: str, kind: str, work: Work, choice: str) -> Borrowed | None:
        """The time of a kernel: measured if it was, else borrowed.

        Returns:
            None where nothing that compares was measured in this choice.
        """
        us = self.known.get((key, choice))
        if us is not None:
            return Borrowed(us, us, us, key)
        kernel = Kernel(key, kind, work)
        group = self.groups.get((kernel.multiplies, choice))
        if group is None or not group.count(kind):
            found = self._from_other_choice(kernel, choice)
            if found is not None or group is None:
                return found
        guess = group.guess(kernel)
        return _borrowed(guess, group)

    def _from_other_choice(self, kernel: Kernel, choice: str) -> Borrowed | None:
        """From the choice in which its class was measured most, scaled as other kernels are."""
        groups = {
            base: group
            for (multiplies, base), group in self.groups.items()
            if multiplies is kernel.multiplies and base not in {choice, ALONE}
        }
        base = max(groups, key=lambda name: groups[name].count(kernel.kind), default=choice)
        both = np.array(
            [
                (self.known[key, base], us)
                for (key, chosen), us in self.known.items()
                if chosen == choice != base and (key, base) in self.known
            ]
        )
        if not len(both) or not groups[base].count(kernel.kind):
            return None
        us = self.known.get((kernel.key, base))
        guess = Guess(us, us, us, 0) if us is not None else groups[base].guess(kernel)
        return _borrowed(scaled(guess, both[:, 0], both[:, 1]), groups[base])


def _borrowed(guess: Guess, group: Group) -> Borrowed:
    return Borrowed(guess.us, guess.low, guess.high, group.kernels[guess.nearest].key)
