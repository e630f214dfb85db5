"""What a metric is: outputs in, a score out that can be resampled."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..engine import Array
from .intervals import Scored

Outputs = Mapping[str, Array]


class Rows(Protocol):
    """Outputs of several samples, by index: a list or a spool."""

    def __len__(self) -> int:
        """How many samples there are."""
        ...

    def __getitem__(self, index: int, /) -> Outputs:
        """The outputs of one sample."""
        ...


class Metric(Protocol):
    """Scores a model on samples; higher is better."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    @property
    def why(self) -> str:
        """Why it was chosen, for the user."""
        ...

    def score(
        self,
        outputs: Iterable[Outputs],
        reference: Iterable[Outputs],
        labels: Iterable[Array | None],
    ) -> Scored:
        """Score outputs; all three run over the same samples and are read once.

        Raises:
            InputError: Labels are missing or wrong, or the user's function fails.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tallied:
    """A score that follows from sums over samples.

    Attributes:
        tallies: What each sample adds, shape (n, d).
        finish: Values, shape (b,), of sums, shape (b, d).
        per_sample: Scores whose mean is the value or bounds it from above (see `Scored`).
        repeatable: Always: the samples do not know of each other.
    """

    tallies: Array
    finish: Callable[[Array], Array]
    per_sample: Array | None = None
    repeatable: bool = True

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.tallies)

    def values(self, weights: Array) -> Array:
        """Values with how often each sample counts, shape (b, n)."""
        return self.finish(weights @ self.tallies)
