"""Samples: what a model is fed, one at a time, with the right answer where it is known."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..engine import Array, Feeds


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample.

    Attributes:
        feeds: Arrays by input name, shaped as the model wants them (with the batch axis).
        label: The right answer, or None where it is not known.
    """

    feeds: Feeds
    label: Array | None = None


class Samples(Protocol):
    """Samples by index, made when asked for: memory does not grow with their number."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Make one sample.

        Raises:
            InputError: The sample cannot be read or does not fit the model.
        """
        ...


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of the samples of another set, in the order of the indices."""

    samples: Samples
    indices: Sequence[int]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        """Make one sample."""
        return self.samples[self.indices[index]]


def each(samples: Samples) -> Iterator[Sample]:
    """Every sample once, in order."""
    return (samples[index] for index in range(len(samples)))


def labelled(samples: Samples) -> bool:
    """Whether the samples come with labels; the first one speaks for all."""
    return len(samples) > 0 and samples[0].label is not None
