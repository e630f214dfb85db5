"""Training samples as shuffled batches: each is a function of the seed and the step alone.

So a run that was interrupted goes on with the very batches that it would have had.
"""

import itertools
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np

from ..accuracy.samples import Samples, Subset
from ..engine import Array, Feeds
from ..errors import InputError
from ..progress import Progress, Silent
from .augment import Augmentation
from .hold import Held, hold

LEAST = 16  # samples that anything can be learnt from
_HELD_OUT, _MOST_HELD_OUT = 0.1, 1024


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of one shape, run at once.

    Attributes:
        feeds: Arrays by input name, samples along axis 0.
        labels: The right class of each; None without labels.
        indices: Which samples these are, shape (n,).
    """

    feeds: Feeds
    labels: Array | None
    indices: Array

    def __len__(self) -> int:
        """How many samples."""
        return len(self.indices)


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """Batches without end.

    Attributes:
        held: The samples.
        size: Samples a batch.
        seed: Of order and augmentation.
        together: Whether samples of a shape may run at once; otherwise a part is one sample.
        augmentation: What is done to pictures.
    """

    held: Held
    size: int
    seed: int = 0
    together: bool = True
    augmentation: Augmentation = Augmentation()  # noqa: RUF009 - frozen

    @classmethod
    def of(
        cls,
        samples: Samples,
        size: int,
        *,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Self:
        """Read samples; a batch is never more than all of them.

        Raises:
            InputError: They cannot be read, are too few, or only some have labels.
            UsageError: Augmentation is asked for what are no pictures.
        """
        if len(samples) < LEAST:
            raise InputError(
                f"{len(samples)} training samples are too few to learn from",
                f"give at least {LEAST}, or leave training out",
            )
        augmentation = augmentation or Augmentation()
        for name, array in samples[0].feeds.items():
            if array.dtype.kind == "f":
                augmentation.check(name, array)
        held = hold(samples, progress=progress or Silent())
        return cls(held, min(size, len(held)), seed, augmentation=augmentation)

    @classmethod
    def plain(cls, samples: Samples, size: int, progress: Progress | None = None) -> Self:
        """Batches to judge by: however few, as they are.

        Raises:
            InputError: They cannot be read, or only some have labels.
        """
        held = hold(samples, progress=progress or Silent())
        return cls(held, min(size, len(held)))

    def at(self, step: int) -> tuple[Part, ...]:
        """The batch of a step, in parts of samples that can run at once."""
        a_round = len(self.held) // self.size
        epoch, place = divmod(step, a_round)
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.held))
        indices = order[place * self.size : (place + 1) * self.size]
        parts = _parts(self.held, indices, together=self.together)
        if not self.augmentation:
            return parts
        rng = np.random.default_rng((self.seed, epoch, place))
        return tuple(
            Part(_augmented(part.feeds, self.augmentation, rng), part.labels, part.indices)
            for part in parts
        )

    def since(self, step: int) -> Generator[tuple[Part, ...]]:
        """The batches from a step on; the next one is made while one is used."""
        with ThreadPoolExecutor(1, "batches") as pool:
            ahead = pool.submit(self.at, step)
            for following in itertools.count(step + 1):
                made = ahead.result()
                ahead = pool.submit(self.at, following)
                yield made

    def once(self) -> Iterator[Part]:
        """Every sample once, in order, as it is."""
        for start in range(0, len(self.held), self.size):
            indices = np.arange(start, min(start + self.size, len(self.held)))
            yield from _parts(self.held, indices, together=self.together)


def held_out(samples: Samples, seed: int = 0) -> tuple[Subset, Subset]:
    """Samples for training, and a tenth (at most 1,024) that training does not see."""
    count = min(_MOST_HELD_OUT, int(len(samples) * _HELD_OUT))
    order = np.random.default_rng(seed).permutation(len(samples)).tolist()
    return Subset(samples, sorted(order[count:])), Subset(samples, sorted(order[:count]))


def _parts(held: Held, indices: Array, *, together: bool) -> tuple[Part, ...]:
    """Samples by shape; each by itself where they cannot run together."""
    rows = [held.feeds(int(index)) for index in indices]
    groups: dict[object, list[int]] = {}
    for place, row in enumerate(rows):
        key = tuple(array.shape for array in row.values()) if together else place
        groups.setdefault(key, []).append(place)
    return tuple(_part(held, [rows[p] for p in g], indices[g]) for g in groups.values())


def _part(held: Held, rows: Sequence[Feeds], indices: Array) -> Part:
    """One part; a single sample keeps the shapes that it has."""
    feeds = {
        name: np.concatenate([row[name] for row in rows]) if len(rows) > 1 else array
        for name, array in rows[0].items()
    }
    typed = {name: array.astype(held.dtypes[name], copy=False) for name, array in feeds.items()}
    return Part(typed, None if held.labels is None else held.labels[indices], indices)


def _augmented(feeds: Feeds, augmentation: Augmentation, rng: np.random.Generator) -> Feeds:
    """Pictures changed, other inputs as they are."""
    return {
        name: augmentation.apply(array, rng) if array.dtype.kind == "f" else array
        for name, array in feeds.items()
    }
