"""Whether a built engine keeps its promises: numbers near the original's, and never slower."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from .engine import Array, Check, Feeds, Status
from .timing import Clock, Paired

# Names of checks; those that only the device can do are found and replaced by name.
DIGESTS = "sizes and digests of all files"
DATA = "outputs on the data"
BUILDS = "the engine builds and loads"
NUMBERS = "outputs on the golden inputs"
LATENCY = "latency beside the original"


@dataclass(frozen=True, slots=True)
class Numbers:
    """How far outputs are from a reference; the worst output decides each figure.

    Attributes:
        finite: No value is NaN or infinite where the reference is finite.
        same_shape: Every output is there, in the shape of the reference.
        max_abs: Largest absolute difference.
        rel: Largest absolute difference over the largest absolute reference value.
        sqnr_db: Signal to quantisation noise, 10 log10(sum r^2 / sum (r - g)^2); inf if equal.
        cosine: Cosine of the angle between reference and result.
        worst: Name of the output that is wrong, else of the one with the lowest `sqnr_db`.
    """

    finite: bool = True
    same_shape: bool = True
    max_abs: float = 0.0
    rel: float = 0.0
    sqnr_db: float = math.inf
    cosine: float = 1.0
    worst: str = ""

    @classmethod
    def worst_of(cls, several: Iterable["Numbers"]) -> Self:
        """The worst of each figure, over outputs or over samples."""
        all_of = list(several)
        if not all_of:
            return cls()
        first = min(all_of, key=lambda n: (n.finite and n.same_shape, n.sqnr_db))
        return cls(
            finite=all(n.finite for n in all_of),
            same_shape=all(n.same_shape for n in all_of),
            max_abs=max(n.max_abs for n in all_of),
            rel=max(n.rel for n in all_of),
            sqnr_db=min(n.sqnr_db for n in all_of),
            cosine=min(n.cosine for n in all_of),
            worst=first.worst,
        )


@dataclass(frozen=True, slots=True)
class Slack:
    """How far outputs may be from those that were recorded.

    Attributes:
        db: Loss of SQNR that is no regression.
        exact_db: From this SQNR on, differences are those of the arithmetic, not of the plan.
    """

    db: float
    exact_db: float


# The same runtime again: order of summation. Another one than recorded: TF32 and fp16
# accumulators (50 to 70 dB), and integer kernels that round otherwise.
SAME_RUNTIME = Slack(db=1.0, exact_db=80.0)
OTHER_RUNTIME = Slack(db=6.0, exact_db=50.0)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a delivered engine may cost.

    Attributes:
        max_drop: Loss of the metric, as a fraction (0.01 is one point in a hundred).
        clock: The clock on which it must not be slower.
    """

    max_drop: float
    clock: Clock = Clock.CPU


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether an engine may be delivered, with every reason for or against it."""

    accepted: bool
    reasons: tuple[str, ...]

    @classmethod
    def identity(cls) -> Self:
        """The original graph itself: what it is compared with, so neither slower nor wrong."""
        return cls(accepted=True, reasons=("the original graph, unchanged",))


def owed(device: str) -> tuple[Check, ...]:
    """The checks that a bundle owes when its device is not at hand."""
    return tuple(
        Check(name, Status.OWED, f"needs {device}: hwc build")
        for name in (BUILDS, NUMBERS, LATENCY)
    )


def compare_outputs(reference: Feeds, got: Feeds) -> Numbers:
    """Compare every output of the reference, by name."""
    return Numbers.worst_of(_compare(name, r, got.get(name)) for name, r in reference.items())


def gate(
    numbers: Numbers | None, paired: Paired | None, *, drop: float | None, tolerance: Tolerance
) -> GateDecision:
    """Decide on one built engine: never wrong, never slower, nothing passed over in silence.

    Args:
        numbers: Outputs against the original's; None where nothing here can run the engine.
        paired: The original (a) and the engine (b); None where the device is not here.
        drop: Loss of the metric on data that neither calibration nor search saw; None if unknown.
        tolerance: What is allowed.
    """
    verdicts = (
        *_judge_numbers(numbers, drop_known=drop is not None),
        _judge_drop(drop, tolerance),
        _judge_speed(paired, tolerance.clock),
    )
    against = tuple(text for passed, text in verdicts if not passed)
    return GateDecision(not against, against or tuple(text for _, text in verdicts))


def regressions(recorded: Numbers, now: Numbers, slack: Slack = SAME_RUNTIME) -> tuple[str, ...]:
    """What got worse since `recorded` was written, beyond the slack; empty if nothing did.

    Where the recorded outputs had other shapes than the original's already, a metric has judged.
    """
    verdicts = _judge_numbers(now, drop_known=not recorded.same_shape)
    wrong = [text for passed, text in verdicts if not passed]
    promised = min(recorded.sqnr_db, slack.exact_db)
    if not wrong and now.sqnr_db < promised - slack.db:
        wrong.append(f"output {now.worst!r}: SQNR {now.sqnr_db:.1f} dB, promised {promised:.1f}")
    return tuple(wrong)


def _judge_numbers(numbers: Numbers | None, *, drop_known: bool) -> list[tuple[bool, str]]:
    if numbers is None:
        return [(True, "numbers not checked here")]
    if not numbers.finite:
        return [(False, f"output {numbers.worst!r} is NaN or infinite")]
    if not numbers.same_shape and not drop_known:
        # Detectors give as many rows as they find: only a metric can judge those.
        return [(False, f"output {numbers.worst!r} has another shape, and no metric judges it")]
    return [(True, f"SQNR {numbers.sqnr_db:.1f} dB")]


def _judge_drop(drop: float | None, tolerance: Tolerance) -> tuple[bool, str]:
    if drop is None:
        return True, "drop not measured"
    text = f"drop {drop:.2%}, allowed {tolerance.max_drop:.2%}"
    return bool(drop <= tolerance.max_drop), text  # False for NaN as well


def _judge_speed(paired: Paired | None, clock: Clock) -> tuple[bool, str]:
    if paired is None:
        return True, "latency not measured here"
    ratio = paired.ratio[clock]
    text = f"{ratio.value:.3f}x the speed ({ratio.low:.3f} to {ratio.high:.3f}, {clock})"
    return ratio.low > 1.0, text if ratio.low > 1.0 else f"not surely faster: {text}"


def _compare(name: str, reference: Array, got: Array | None) -> Numbers:
    if got is None or got.shape != reference.shape:
        return replace(_nothing_alike(name), same_shape=False)
    if reference.dtype.kind in "OSU":
        alike = bool(np.array_equal(reference.astype(np.str_), got.astype(np.str_)))
        return Numbers(worst=name) if alike else _nothing_alike(name)
    r, g = reference.astype(np.float64).ravel(), got.astype(np.float64).ravel()
    known = np.isfinite(r)
    if not np.isfinite(g[known]).all():
        return replace(_nothing_alike(name), finite=False)
    return _distance(name, r[known & np.isfinite(g)], g[known & np.isfinite(g)])


def _distance(name: str, r: Array, g: Array) -> Numbers:
    """Compare two finite vectors of equal length."""
    noise = r - g
    if not noise.any():
        return Numbers(worst=name)
    signal, energy, largest = float(r @ r), float(noise @ noise), float(np.abs(r).max())
    max_abs = float(np.abs(noise).max())
    lengths = math.sqrt(signal) * float(np.linalg.norm(g))
    return Numbers(
        max_abs=max_abs,
        rel=max_abs / largest if largest else math.inf,
        sqnr_db=10 * math.log10(signal / energy) if signal and energy else -math.inf,
        cosine=float(r @ g) / lengths if lengths else 0.0,
        worst=name,
    )


def _nothing_alike(name: str) -> Numbers:
    return Numbers(max_abs=math.inf, rel=math.inf, sqnr_db=-math.inf, cosine=0.0, worst=name)
