"""What a compilation found out: every figure with where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from .codec import LATER, canonical, parse
from .engine import Check
from .origin import Origin
from .timing import Clock, Interval, Spread
from .verify import GateDecision, Numbers


@dataclass(frozen=True, slots=True)
class Latency:
    """The time of one inference.

    Attributes:
        us: Median, in microseconds.
        origin: Where it comes from.
        source: Who measured or estimated it: device, runtime and version, threads, date.
        clock: What was counted.
        spread: Tenth and ninetieth percentile; None for an estimate.
        runs: How many runs; 0 for an estimate.
        residual: Typical relative error of such an estimate, where it is known.
    """

    us: float
    origin: Origin
    source: str
    clock: Clock = Clock.WALL
    spread: Spread | None = None
    runs: int = 0
    residual: float | None = None

    @classmethod
    def measured(cls, spread: Spread, runs: int, clock: Clock, source: str) -> Self:
        """A measurement, with who made it."""
        return cls(spread.median, Origin.MEASURED, source, clock, spread, runs)


@dataclass(frozen=True, slots=True)
class Quality:
    """A metric's value with its interval.

    Attributes:
        metric: `top1`, `agreement`, ... or the user's `module:function`.
        value: Fraction from 0 to 1 for the built-in metrics.
        n: Samples it was measured on.
        split: Which data: `report` is seen by neither calibration nor search.
    """

    metric: str
    value: Interval
    n: int
    split: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One column of the table: the original, or what was compiled from it.

    Attributes:
        size: Bytes on disk of the model with its external data.
        latency: None where it is neither measured nor estimated.
        quality: None where no data was given.
        counts: How many nodes run in each precision.
        macs: Multiply-accumulates of one inference; 0 where they were not counted.
        weights: Numbers of all its float constants; 0 where they were not counted.
    """

    size: int
    latency: Latency | None = None
    quality: Quality | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    macs: int = field(default=0, metadata=LATER)
    weights: int = field(default=0, metadata=LATER)


@dataclass(frozen=True, slots=True)
class SlotRow:
    """What was decided for one slot.

    Attributes:
        name: Name of its anchor node.
        op: Op type of the anchor.
        choice: The precision it runs in.
        why: Why that one.
        predicted_us: Time in each precision, in microseconds, from the latency table.
        sensitivity: Loss that each precision of this slot alone causes, as the search saw it.
        measured_us: In-place time in the delivered engine, where kernels can be timed.
        kept: Why there was no choice; empty where there was one.
    """

    name: str
    op: str
    choice: str
    why: str
    predicted_us: Mapping[str, float] = field(default_factory=dict)
    sensitivity: Mapping[str, float] = field(default_factory=dict)
    measured_us: float | None = None
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One plan that was built and brought before the gate."""

    plan: str
    decision: GateDecision
    speedup: Interval | None = None
    drop: Interval | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """One plan that a search truly evaluated, and none that it evaluated is better in all figures.

    Attributes:
        loss: What the search minimises on its samples, lower is better.
        us: Predicted latency, in microseconds.
        size: Bytes of the weights.
        counts: How many slots run in each precision.
    """

    loss: float
    us: float
    size: int
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SearchRow:
    """What the search for a plan did.

    Attributes:
        strategy: Who searched.
        evaluations: How many plans were truly run on the search split.
        verdict: Whether it beat the exact solver's plan on samples that no search has seen.
        seed: Of the search.
        loss: What was minimised; empty where nothing was searched by it.
        pareto: The best of all that was evaluated, the fastest first.
    """

    strategy: str
    evaluations: int
    verdict: str = ""
    seed: int = 0
    loss: str = ""
    pareto: tuple[Tried, ...] = ()


@dataclass(frozen=True, slots=True)
class StructureRow:
    """What is left at one node of the original's structure.

    Attributes:
        node: Its name.
        keep: The fraction of the channels it wrote; 0: they are gone, and what hung on them.
        rank: The ranks of the factors that stand for its weight; empty: it is whole.
        factors: How it is factorised, such as `tucker`.
    """

    node: str
    keep: float = 1.0
    rank: tuple[int, ...] = ()
    factors: str = field(default="", metadata=LATER)


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage of making a model smaller.

    Attributes:
        name: What was done.
        us: What the model then takes, as far as kernels tell, in microseconds.
        weights: Weight elements that it then has.
        loss: What the cut lost on the samples of the search, before anything was won back; None
            where nothing was cut.
        drop: What the metric had then lost, on samples that the stage has not seen.
        kept: Whether it stayed; otherwise it lost too much, or more than another cut of its stage,
            and was undone.
    """

    name: str
    us: float
    weights: int
    loss: float | None
    drop: float
    kept: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one compilation.

    Attributes:
        model: What was compiled, as the user named it.
        device: Name of the device profile.
        backend: Name of the backend, with the runtime's version where it is installed.
        original: The model as it came in.
        compiled: What is delivered.
        predicted: What the latency table said about the chosen plan, with its source.
        speedup: Original over compiled, paired; None where the device is not here.
        drop: Loss of the metric, paired, as a fraction.
        golden: The delivered engine on the golden inputs against the original's outputs.
        kernels: What the runtime made of it, such as `int8 asked` and `int8 fused`.
        boundaries: Tensors at which the precision changes.
        slots: One row a slot, in topological order.
        search: What the search did; None where there was nothing to choose.
        attempts: What the gate saw, in order; the last one is delivered.
        checks: What was checked about the deliverable, and what is owed.
        notes: Remarks for the user, one line each.
        seconds: Time that each stage took.
        structure: What is left of the structure, where it was changed.
        stages: How it came to that, in order.
    """

    model: str
    device: str
    backend: str
    original: Measured
    compiled: Measured
    predicted: Latency | None = None
    speedup: Interval | None = None
    drop: Interval | None = None
    golden: Numbers | None = None
    kernels: Mapping[str, int] = field(default_factory=dict)
    boundaries: int = 0
    slots: tuple[SlotRow, ...] = ()
    search: SearchRow | None = None
    attempts: tuple[Attempt, ...] = ()
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    structure: tuple[StructureRow, ...] = field(default=(), metadata=LATER)
    stages: tuple[StageRow, ...] = field(default=(), metadata=LATER)

    def to_json(self) -> str:
        """Canonical JSON."""
        return canonical(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read exactly what `to_json` wrote.

        Raises:
            InputError: The text is not a report.
        """
        return parse(cls, text)
