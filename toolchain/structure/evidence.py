"""How much units matter by what happens on samples: their activations, and gradients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..accuracy.evaluator import Reference
from ..accuracy.objective import Objective
from ..accuracy.samples import Sample, Samples, each
from ..engine import Array
from ..frontend.torch_graph import TorchGraph, import_torch, tensors_of, to_torch
from ..observe import OpenRunner, observer
from ..progress import Progress, Silent
from .groups import ChannelGroup
from .importance import Importance, Scores, array_of, shared, units_of, weights_of

_SAMPLES = 32  # whose gradients are taken


def by_activations(
    model: ir.Model, groups: Sequence[ChannelGroup], samples: Samples, open_runner: OpenRunner
) -> Scores:
    """Mean size of each unit's activations, every tensor of a group counting as much.

    Args:
        model: The graph.
        groups: Its channel groups.
        samples: Inputs; labels are not needed.
        open_runner: Opens a graph.
    """
    names = sorted({name for group in groups for name, _, _ in group.tensors})
    run = observer(model, names, open_runner)
    sums: dict[tuple[str, int], Array] = {}
    for sample in each(samples):
        seen = run(sample.feeds)
        for group in groups:
            for place, (name, axis, indices) in enumerate(group.tensors):
                moved = np.moveaxis(np.abs(seen[name]), axis, 0)
                size = moved.reshape(len(moved), -1).mean(axis=1)[indices].mean(axis=1)
                key = group.name, place
                sums[key] = sums.get(key, 0.0) + size
    return {
        group.name: sum(
            (shared(sums[group.name, place]) for place in range(len(group.tensors))),
            np.zeros(group.units),
        )
        for group in groups
    }


def by_gradients(
    model: ir.Model,
    groups: Sequence[ChannelGroup],
    how: Importance,
    *,
    reference: Reference,
    progress: Progress | None = None,
) -> Scores:
    """Scores by what the loss would change by if a unit went, to first order.

    With class labels the loss is cross-entropy; without, the distance from the original's outputs,
    whose gradient there is 0: its curvature is read off random projections (`Objective`).

    Args:
        model: The graph.
        groups: Its channel groups.
        how: TAYLOR, FISHER or SNIP.
        reference: Samples with the original's outputs; a few of them are used.
        progress: Told of each sample.

    Raises:
        InputError: torch cannot run the graph.
    """
    chosen = np.linspace(0, len(reference) - 1, min(_SAMPLES, len(reference))).astype(int)
    indices = np.unique(chosen).tolist()
    slope = _Slope(
        to_torch(model),
        Objective.of([reference.outputs[index] for index in indices]),
        np.random.default_rng(0),
    )
    members = {group.name: weights_of(model, group) for group in groups}
    names = sorted({m.constant for found in members.values() for m in found})
    sums: dict[str, Array] = {group.name: np.zeros(group.units) for group in groups}
    with (progress or Silent()).stage(f"importance: {how}", len(indices)) as step:
        for index in indices:
            gradients = slope(names, reference.samples[index])
            for group in groups:
                products = [
                    units_of(array_of(model, m.constant) * gradients[m.constant], m)
                    for m in members[group.name]
                    if m.constant in gradients
                ]
                sums[group.name] = sums[group.name] + _change(products, how)
            step()
    return sums


def _change(products: Sequence[Array], how: Importance) -> Array:
    """What each unit's weights, times their gradients, say of it; shape (units,)."""
    sizes = [(np.abs(p) if how is Importance.SNIP else p).sum(axis=1) for p in products]
    total: Array = np.sum(sizes, axis=0)
    return total**2 if how is Importance.FISHER else np.abs(total)


@dataclass(frozen=True, slots=True)
class _Slope:
    """Gradients of the loss of one sample after the other."""

    graph: TorchGraph
    objective: Objective
    rng: np.random.Generator

    def __call__(self, names: Sequence[str], sample: Sample) -> dict[str, Array]:
        """By the weights of these names; without those that the loss does not hang on."""
        held = self.graph.weights
        weights = {n: held[n].detach().requires_grad_() for n in names if n in held}
        outputs = self.graph(tensors_of(sample.feeds), weights)
        if sample.label is not None and self.objective.takes(sample.label):
            loss = self.objective.cross_entropy(outputs, sample.label)
        else:
            loss = self.objective.projection(outputs, self.rng)
        found = import_torch().autograd.grad(loss, list(weights.values()), allow_unused=True)
        pairs = zip(weights, found, strict=True)
        return {name: gradient.numpy() for name, gradient in pairs if gradient is not None}
