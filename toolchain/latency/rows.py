"""The rows of a latency table: measured builds, and the kernels and boundaries in them."""

from dataclasses import dataclass

from ..plan import Precision
from ..slots import Work
from .timing import Timing, check_count, check_date, check_text, check_us

LONGEST = 1 << 20  # characters of a key, a path or a plan: a loop's key has its body in it


@dataclass(frozen=True, slots=True)
class KernelRow:
    """The time of one kernel under one choice.

    Attributes:
        key: `Slot.key`, canonical text: equal kernels of different models share it.
        choice: What was chosen for it, such as `int8`.
        kind: Its class, `Slot.kind`.
        work: What it has to do, so that its time can be scaled to a kernel that was not measured.
        timing: Its time.
    """

    key: str
    choice: str
    kind: str
    work: Work
    timing: Timing

    def __post_init__(self) -> None:
        check_text(self.key, "key", LONGEST)
        check_text(self.choice, "choice")
        check_text(self.kind, "kind")
        work = self.work
        for count in (work.macs, work.weights, work.reads, work.writes):
            check_count(count, "of work")


@dataclass(frozen=True, slots=True)
class BoundaryRow:
    """The time of converting a tensor of `elements` from one format to another."""

    before: Precision
    after: Precision
    elements: int
    timing: Timing

    def __post_init__(self) -> None:
        check_count(self.elements, "elements")

    @property
    def change(self) -> tuple[Precision, Precision, int]:
        """What is converted; rows of one setting differ in it."""
        return self.before, self.after, self.elements


@dataclass(frozen=True, slots=True)
class BuildRow:
    """One whole model that was built and measured, from which kernel and boundary rows come.

    Attributes:
        id: Digest of the model and the plan.
        model: Digest of the model's kernels.
        path: Where the model lay, so that it can be measured again; empty where that is not known.
        plan: The plan as canonical JSON (`Plan.to_json`).
        total_us: Typical time of a whole run, in microseconds.
        runs: How many runs were timed.
        date: When, as ISO 8601.
    """

    id: str
    model: str
    path: str
    plan: str
    total_us: float
    runs: int
    date: str

    def __post_init__(self) -> None:
        check_text(self.id, "build")
        check_text(self.model, "model")
        check_text(self.path, "path", LONGEST)
        check_text(self.plan, "plan", LONGEST)
        check_us(self.total_us)
        check_count(self.runs, "runs")
        check_date(self.date)


@dataclass(frozen=True, slots=True)
class MeasuredBuild:
    """A build with every row that comes from it: what is written together or not at all."""

    build: BuildRow
    kernels: tuple[KernelRow, ...]
    boundaries: tuple[BoundaryRow, ...]
