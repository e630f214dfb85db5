"""Training of fp32 graphs with the trainer of the product, and pruning by multiply-accumulates."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from hwc.passes.prune import prune
from hwc.toolchain import kernels
from hwc.toolchain.accuracy.data import load_samples
from hwc.toolchain.accuracy.samples import Samples, Subset, each
from hwc.toolchain.frontend.load import load_model
from hwc.toolchain.frontend.shapes import model_inputs
from hwc.toolchain.observe import annotate
from hwc.toolchain.progress import Silent
from hwc.toolchain.structure.compensate import refit
from hwc.toolchain.structure.find_groups import find_groups
from hwc.toolchain.structure.groups import Indices
from hwc.toolchain.structure.importance import Importance, by_weights
from hwc.toolchain.structure.moments import moments_of
from hwc.toolchain.training.recipe import Recipe
from hwc.toolchain.training.student import Student, common_features
from hwc.toolchain.training.task import Task
from hwc.toolchain.training.trainer import Limits, train
from hwc.tools.request import Request
from hwc.tools.stages.decide import reference
from hwc.tools.stages.recover import WITH_LABELS
from hwc.tools.stages.rewrite import rewrite
from hwc.tools.stages.target import find_target

AUGMENT = "flip crop=4"
_ENDLESS = 10**7  # steps: the clock ends a run
_FITTED = 128  # samples that what is left is fitted on
_LEAST = 0.125  # of a group's units, that stay
_HALVINGS = 12  # of the range that the threshold lies in


@dataclass(frozen=True, slots=True, eq=False)
class Pruned:
    """A graph with fewer channels.

    Attributes:
        model: The graph.
        removed: Fraction of the multiply-accumulates that went.
    """

    model: ir.Model
    removed: float


def read(path: Path) -> ir.Model:
    """A model after the graph passes for this machine."""
    target = find_target(Request(str(path)))
    return rewrite(load_model(path), target.dialect, Silent())[0]


def training_samples(model: ir.Model, spec: str) -> Samples:
    """Training data, read once."""
    return list(each(load_samples(spec, model_inputs(model))))


def trained(
    model: ir.Model, teacher: ir.Model | None, samples: Samples, *, minutes: float
) -> ir.Model:
    """A graph after so many minutes of the recipe of `--recover full`.

    Args:
        model: The graph.
        teacher: What it learns from beside the labels, as a compressed model does; None: from the
            labels alone, so that nothing holds it back.
        samples: Labelled.
        minutes: Of training.
    """
    shared = common_features(teacher, model) if teacher is not None else ()
    source = Student.of(teacher or model, samples, reference, features=shared)
    student = Student.of(model, samples, reference, features=shared, norms=True)
    alpha = WITH_LABELS if teacher is not None else 0.0
    recipe = Recipe(steps=_ENDLESS, alpha=alpha, augment=AUGMENT)
    task = Task.of(student, source, samples, recipe=recipe)
    train(task, recipe, limits=Limits(60 * minutes))
    return student.to_model(samples, reference)


def pruned(model: ir.Model, samples: Samples, share: float) -> Pruned:
    """A graph without the least important channels, by one threshold for all groups.

    Importance is L2 in units of a group's mean; what is left is fitted to what goes.

    Args:
        model: The graph.
        samples: Inputs; evenly spaced ones are used.
        share: Fraction of the multiply-accumulates that shall go.
    """
    feeds = samples[0].feeds
    seen = annotate(model, reference, feeds)
    groups = find_groups(seen).groups
    scores = by_weights(model, groups, Importance.L2)
    scores = {name: score / score.mean() for name, score in scores.items()}
    whole, low, high = _macs(seen), 0.0, max(float(score.max()) for score in scores.values())
    best: dict[str, Indices] = {}
    removed = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        kept = {name: _kept(score, middle) for name, score in scores.items()}
        gone = 1 - _macs(annotate(prune(model, groups, kept), reference, feeds)) / whole
        if gone <= share:
            low, best, removed = middle, kept, gone
        else:
            high = middle
    step = max(1, len(samples) // _FITTED)
    some = Subset(samples, list(range(0, len(samples), step))[:_FITTED])
    moments = moments_of(model, groups, some, reference)
    return Pruned(prune(refit(model, groups, best, moments), groups, best), removed)


def _kept(score: np.ndarray[tuple[int], np.dtype[np.float64]], threshold: float) -> Indices:
    """The units over a threshold, ascending, and at least some."""
    least = max(1, round(_LEAST * len(score)))
    count = max(least, int((score >= threshold).sum()))
    return np.sort(np.argsort(-score, kind="stable")[:count])


def _macs(seen: ir.Model) -> int:
    return sum(kernels.macs(node) for node in seen.graph)
