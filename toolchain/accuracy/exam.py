"""Some samples, and what the outputs of plans are compared with on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..engine import Array
from ..errors import BackendError
from ..plan import Plan
from .blocks import PlanRunner
from .losses import Answers, Judgement, PlanLoss
from .metric import Outputs, Rows
from .samples import Samples, each


@dataclass(frozen=True)
class Exam:
    """Finds the losses of plans on some samples.

    Attributes:
        samples: The samples.
        reference: What the original gives for each of them.
        loss: What counts.
    """

    samples: Samples
    reference: Rows
    loss: PlanLoss

    def losses(self, runner: PlanRunner, plan: Plan) -> Array:
        """The loss of each sample, shape (n,); infinite where the backend refuses the plan.

        Raises:
            InputError: The loss cannot be computed.
        """
        try:
            return self._judgement(runner.outputs(plan, self.samples))
        except BackendError:
            return np.full(len(self.samples), np.inf)

    @cached_property
    def _judgement(self) -> Judgement:
        count = len(self.samples)
        known = self.samples[0].label is not None
        labels = [s.label for s in each(self.samples)] if known else [None] * count
        return self.loss.bind(Answers(self.reference, labels))


@dataclass(frozen=True, slots=True)
class Picked:
    """Some rows of others."""

    rows: Rows
    indices: Sequence[int]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.indices)

    def __getitem__(self, index: int) -> Outputs:
        """Read a row."""
        return self.rows[self.indices[index]]
