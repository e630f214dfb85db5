"""Three disjoint parts of the data: for calibration, for the search, and for the report."""

from dataclasses import dataclass

import numpy as np

from .samples import Samples, Subset


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many samples each part gets where there are enough."""

    calibrate: int = 128
    search: int = 256
    report: int = 1024


@dataclass(frozen=True, slots=True)
class Splits:
    """The parts.

    Attributes:
        calibrate: For the ranges of activations.
        search: For comparing plans.
        report: For the drop that is reported; neither calibration nor search sees it.
        note: What the user must know about them; empty where the parts have the sizes asked for.
    """

    calibrate: Samples
    search: Samples
    report: Samples
    note: str = ""


def split(
    samples: Samples,
    evaluation: Samples | None = None,
    *,
    sizes: Sizes | None = None,
    seed: int = 0,
) -> Splits:
    """Divide the data at random.

    With too few samples each part gets a share (a third at least goes to the report). One or two
    samples serve all parts, and the note says that the drop is then not independent.

    Args:
        samples: What `--data` names.
        evaluation: What `--eval` names: then search and report come from it, and all of `samples`
            may serve calibration.
        sizes: What to aim for.
        seed: For the division.
    """
    sizes = sizes or Sizes()
    if evaluation is None:
        parts, shared = _divide(samples, (sizes.calibrate, sizes.search, sizes.report), seed)
    else:
        (calibrate,), _ = _divide(samples, (sizes.calibrate,), seed)
        rest, shared = _divide(evaluation, (sizes.search, sizes.report), seed)
        parts = (calibrate, *rest)
    calibrate, search, report = parts
    return Splits(calibrate, search, report, _note(parts, sizes, shared=shared))


def _divide(
    samples: Samples, wanted: tuple[int, ...], seed: int
) -> tuple[tuple[Samples, ...], bool]:
    """Disjoint parts of at most the wanted sizes; also whether they had to be the same samples."""
    total = len(samples)
    if total < len(wanted):
        return (samples,) * len(wanted), True
    order = np.random.default_rng(seed).permutation(total)
    parts: list[Samples] = []
    start = 0
    for index, size in enumerate(wanted):
        last = index == len(wanted) - 1
        share = total - start if last else total // len(wanted)
        stop = start + min(size, share)
        parts.append(Subset(samples, sorted(order[start:stop].tolist())))
        start = stop
    return tuple(parts), False


def _note(parts: tuple[Samples, ...], sizes: Sizes, *, shared: bool) -> str:
    """What the sizes of the parts mean for the user."""
    have = f"{len(parts[0])} calibrate, {len(parts[1])} search, {len(parts[2])} report"
    if shared:
        return f"too few samples to divide ({have}, the same ones): the drop is not independent"
    wanted = (sizes.calibrate, sizes.search, sizes.report)
    if any(len(part) < want for part, want in zip(parts, wanted, strict=True)):
        want = f"{wanted[0]}/{wanted[1]}/{wanted[2]}"
        return f"few samples: {have} ({want} would be better)"
    return ""
