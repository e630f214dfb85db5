"""How well each importance of channels tells what pruning loses, and what a refit wins back.

Run `python tests/bench/importance.py [MODEL]`. Half of the channels of one group after the other is
removed, those that matter least by a criterion. Printed is Spearman's rank correlation of the
importance that goes with the loss that comes (Kullback-Leibler divergence from the original), the
mean of these losses, and the loss and top-1 with all inner groups (those of residual branches)
halved together: as they are, and with the weights that read them refitted. Criteria and refits see
calibration images without labels; losses are those of test images. Nothing is trained.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from hwc.passes.prune import prune
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.device import load_profile
from hwc.toolchain.frontend.load import load_model
from hwc.toolchain.observe import annotate
from hwc.toolchain.progress import Silent
from hwc.toolchain.structure.compensate import refit
from hwc.toolchain.structure.deviation import by_deviations
from hwc.toolchain.structure.evidence import by_activations, by_gradients
from hwc.toolchain.structure.find_groups import find_groups
from hwc.toolchain.structure.groups import ChannelGroup, Indices
from hwc.toolchain.structure.importance import (
    NEEDS_GRADIENTS,
    Importance,
    Scores,
    by_weights,
    ranked,
)
from hwc.toolchain.structure.moments import Moments, moments_of
from hwc.tools.backends import open_backend
from hwc.tools.stages.decide import reference
from hwc.tools.stages.rewrite import rewrite
from scipy.special import log_softmax
from scipy.stats import spearmanr
from support import cifar
from support.compilation import write_json
from support.devkit import SkipError, cases
from support.tables import markdown, say

MODEL = "resnet20_cifar10_v2"
FITTED = 256  # calibration images
JUDGED = 256  # test images
CRITERIA = tuple(how for how in Importance if how is not Importance.MOVEMENT)

Array = npt.NDArray[np.float64]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """A network whose inner channels are halved.

    Attributes:
        model: After the graph passes.
        groups: Its channel groups.
        samples: Calibration images.
        moments: Of what weights read there.
        images: Test images, as one batch.
        labels: Their classes.
    """

    model: ir.Model
    groups: tuple[ChannelGroup, ...]
    samples: Sequence[Sample]
    moments: Moments
    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.intp]

    @classmethod
    def of(cls, path: Path) -> "Ground":
        """Load a network and its data."""
        model = rewrite(
            load_model(str(path)), open_backend("ort").dialect(load_profile("host")), Silent()
        )[0]
        samples = [Sample(feeds) for feeds in spread(cifar.calibration(), FITTED)]
        seen = annotate(model, reference, samples[0].feeds)
        groups = find_groups(seen).groups
        pairs = spread(cifar.evaluation(), JUDGED)
        images = np.concatenate([feeds[cifar.INPUT] for feeds, _ in pairs])
        labels = np.array([int(label) for _, label in pairs])
        moments = moments_of(model, groups, samples, reference)
        return cls(model, groups, samples, moments, images, labels)

    def scores(self, how: Importance) -> Scores:
        """The importance of all units by a criterion."""
        if how in NEEDS_GRADIENTS:
            known = Reference.of(reference(self.model), self.samples, "calibrate")
            return by_gradients(self.model, self.groups, how, reference=known)
        if how is Importance.ACTIVATION:
            return by_activations(self.model, self.groups, self.samples, reference)
        if how is Importance.BN_SCALE:
            return by_deviations(self.model, self.groups, self.samples, reference)
        return by_weights(self.model, self.groups, how)

    def logits(self, kept: dict[str, Indices], *, fitted: bool) -> Array:
        """What is left of the outputs; shape (images, classes)."""
        model = refit(self.model, self.groups, kept, self.moments) if fitted else self.model
        run = reference(prune(model, self.groups, kept))
        (found,) = run({cifar.INPUT: self.images}).values()
        return found.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Row:
    """How one criterion does, with a refit or without.

    Attributes:
        importance: Which one.
        fitted: Whether readers were refitted.
        rank: Spearman's correlation over groups: importance that goes, loss that comes.
        single: Mean loss of one halved group, in nats.
        together: Loss with all inner groups halved, in nats.
        top1: What is left of the top-1 then.
        seconds: What the criterion took.
    """

    importance: str
    fitted: bool
    rank: float
    single: float
    together: float
    top1: float
    seconds: float


def spread(items: Iterable[Item], count: int) -> list[Item]:
    """Some of the items, evenly over all of them: the data are sorted by class."""
    every = list(items)
    return [every[i] for i in np.linspace(0, len(every) - 1, count).astype(int)]


def rows_of(ground: Ground, how: Importance, truth: Array) -> list[Row]:
    """Halve each group, then all, by one criterion."""
    started = time.perf_counter()
    scores = ground.scores(how)
    seconds = time.perf_counter() - started
    order = ranked(scores)
    kept = {g.name: np.sort(order[g.name][: g.units // 2]) for g in ground.groups}
    goes = [float(np.delete(scores[name], units).sum()) for name, units in kept.items()]
    rows = []
    for fitted in (False, True):
        loss: Callable[[dict[str, Indices]], Array] = partial(ground.logits, fitted=fitted)
        single = [divergence(truth, loss({name: units})) for name, units in kept.items()]
        every = loss({g.name: kept[g.name] for g in ground.groups if g.vanishes})
        rank = float(spearmanr(goes, single).statistic)
        mean, together = float(np.mean(single)), divergence(truth, every)
        rows.append(
            Row(how.value, fitted, rank, mean, together, top1(ground.labels, every), seconds)
        )
    return rows


def divergence(truth: Array, logits: Array) -> float:
    """Mean Kullback-Leibler divergence from the original's classes, in nats."""
    p, q = log_softmax(truth, axis=1), log_softmax(logits, axis=1)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())


def top1(labels: npt.NDArray[np.intp], logits: Array) -> float:
    """The share of images whose class comes first."""
    return float((logits.argmax(axis=1) == labels).mean())


def main() -> None:
    """Compare all criteria on one network, print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default=MODEL, help="a CIFAR-10 network")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write JSON")
    asked = parser.parse_args()
    try:
        (case,) = cases([asked.model])
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    if case.task != "cifar":
        say(f"skipped: {case.name} is no CIFAR-10 network")
        return
    ground = Ground.of(case.path)
    truth = ground.logits({}, fitted=False)
    say(f"{case.name}: {len(ground.groups)} groups, top-1 {top1(ground.labels, truth):.1%}\n")
    rows = [row for how in CRITERIA for row in rows_of(ground, how, truth)]
    head = ("importance", "refit", "rank", "one halved", "inner halved", "top-1", "seconds")
    say(markdown(head, [_cells(row) for row in rows]))
    if asked.out:
        write_json(asked.out, {case.name: [asdict(row) for row in rows]})


def _cells(row: Row) -> tuple[str, ...]:
    figures = f"{row.rank:.2f}", f"{row.single:.3f}", f"{row.together:.2f}", f"{row.top1:.1%}"
    return row.importance, "yes" if row.fitted else "no", *figures, f"{row.seconds:.1f}"


if __name__ == "__main__":
    main()
