"""Disjoint parts of the data: for calibration, the search, its last word, and the report."""

from dataclasses import dataclass

import numpy as np

from .samples import Samples, Subset

_LEAST_RANK = 48  # samples that tell nothing apart are better used by the search
_OF_SEARCH = 3  # where nothing is left over, this part of the search's samples ranks


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many samples each part gets where there are enough."""

    calibrate: int = 128
    search: int = 256
    report: int = 1024
    rank: int = 1024


@dataclass(frozen=True, slots=True)
class Splits:
    """The parts.

    Attributes:
        calibrate: For the ranges of activations.
        search: For comparing plans.
        rank: For comparing the best of them again; empty where there are too few samples.
        report: For the drop that is reported; neither calibration nor search sees it.
        note: What the user must know about them; empty where the parts have the sizes asked for.
    """

    calibrate: Samples
    search: Samples
    report: Samples
    rank: Samples
    note: str = ""


def split(
    samples: Samples,
    evaluation: Samples | None = None,
    *,
    sizes: Sizes | None = None,
    seed: int = 0,
) -> Splits:
    """Divide the data at random.

    With too few samples each part gets a share (a third at least goes to the report). What is left
    over ranks; where that is not enough, a third of the search's samples does. One or two samples
    serve all parts, and the note says that the drop is then not independent.

    Args:
        samples: What `--data` names.
        evaluation: What `--eval` names: then search and report come from it, and all of `samples`
            may serve calibration.
        sizes: What to aim for.
        seed: For the division.
    """
    sizes = sizes or Sizes()
    if evaluation is None:
        wanted = (sizes.calibrate, sizes.search, sizes.report)
        parts, rest, shared = _divide(samples, wanted, seed)
    else:
        (calibrate,), _, _ = _divide(samples, (sizes.calibrate,), seed)
        judged, rest, shared = _divide(evaluation, (sizes.search, sizes.report), seed)
        parts = (calibrate, *judged)
    note = _note(parts, sizes, shared=shared)
    calibrate, search, report = parts
    if len(rest) < _LEAST_RANK:
        search, rest = _parted(search, sizes.rank)
    rank = Subset(rest.samples, sorted(rest.indices[: sizes.rank]))
    return Splits(calibrate, search, report, rank, note)


def _divide(
    samples: Samples, wanted: tuple[int, ...], seed: int
) -> tuple[tuple[Subset, ...], Subset, bool]:
    """Disjoint parts of at most the wanted sizes, and the rest.

    Also whether the parts had to be the same samples.
    """
    total = len(samples)
    if total < len(wanted):
        whole = Subset(samples, range(total))
        return (whole,) * len(wanted), Subset(samples, []), True
    order = np.random.default_rng(seed).permutation(total)
    parts: list[Subset] = []
    start = 0
    for index, size in enumerate(wanted):
        last = index == len(wanted) - 1
        share = total - start if last else total // len(wanted)
        stop = start + min(size, share)
        parts.append(Subset(samples, sorted(order[start:stop].tolist())))
        start = stop
    return tuple(parts), Subset(samples, order[start:].tolist()), False


def _parted(search: Subset, most: int) -> tuple[Subset, Subset]:
    """The search's samples without every third, and these; none where they would be too few."""
    ranked = search.indices[1::_OF_SEARCH][:most] if len(search) >= _LEAST_RANK else []
    left = [index for index in search.indices if index not in set(ranked)]
    return Subset(search.samples, left), Subset(search.samples, ranked)


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
