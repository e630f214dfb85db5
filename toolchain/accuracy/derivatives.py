"""Sensitivities from derivatives: gradient, Fisher, SNIP and Hessian trace, by torch's autograd.

Every one is a sum over what a choice perturbs (`perturbation`): the constants, whose errors D are
known exactly, and the activations, whose errors are random with a known mean square.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine import Array
from ..frontend.torch_graph import TorchGraph, check_same, import_torch, tensors_of, to_torch
from ..progress import Progress, Silent
from .evaluator import Reference
from .objective import Objective
from .perturbation import Perturbation, Rounding, Table
from .samples import Sample

Tensor = Any  # torch.Tensor, which is not imported for a type
_Place = tuple[int, int]  # slot and choice
_SPREAD_ROWS = 64  # of the original's outputs, from which the spread of each channel is taken


@dataclass(frozen=True, slots=True)
class Derivatives:
    """What first and second derivatives say of each choice; tables as `sensitivity` gives them.

    Attributes:
        gradient: Mean over the samples of (g . D)^2: with all correlations between the errors of
            the constants.
        fisher: Mean of the sum of g^2 D^2: its diagonal (Theis et al. 2018, "Faster gaze prediction
            with dense networks and Fisher pruning"). Both are halved with labels, where g^2 stands
            for the curvature; without, it is the loss itself.
        snip: Mean of the sum of |g D|: the saliency |g w| of Lee et al. 2019, "SNIP: single-shot
            network pruning", of what rounding takes of each weight instead of the whole.
        hessian: Half the mean diagonal of the Hessian times ||D||^2 (Dong et al. 2020, "HAWQ-V2:
            Hessian aware trace-weighted quantization"). The trace is Hutchinson's, with the random
            signs on the side of the outputs: that of J^T M^2 J is the mean of |J^T M s|^2. For the
            distance from the original that is the whole Hessian, of a cross-entropy it is the
            Gauss-Newton part. One backward pass does for all tensors, where a z . Hz for each took
            60 times as long on EfficientNet-Lite0.
        samples: How many samples were used.
        labelled: Whether the loss was cross-entropy with labels; otherwise distance from the
            original.
        error: How far the torch form is from the original (`check_same`).
    """

    gradient: Table
    fisher: Table
    snip: Table
    hessian: Table
    samples: int
    labelled: bool
    error: float


def derivatives(
    rounding: Rounding,
    reference: Reference,
    *,
    count: int = 16,
    seed: int = 0,
    progress: Progress | None = None,
) -> Derivatives:
    """Differentiate the loss on a few samples, one at a time.

    With class labels the loss is cross-entropy; without, the distance from the original's outputs
    that `sensitivity` measures (see `objective`).

    Args:
        rounding: The model and what its choices do.
        reference: Samples with the original's outputs.
        count: How many samples to use.
        seed: Of the random signs.
        progress: Told of each sample.

    Raises:
        InputError: torch or the converter is missing, the graph cannot be converted or is another
            function afterwards, or labels do not fit.
    """
    progress = progress or Silent()
    indices = np.unique(np.linspace(0, len(reference) - 1, min(count, len(reference))).astype(int))
    rows = [reference.outputs[index] for index in indices]
    samples = [reference.samples[index] for index in indices]
    known = [reference.outputs[index] for index in range(min(len(reference), _SPREAD_ROWS))]
    changes = list(rounding.perturbations())
    graph = to_torch(rounding.model, sorted({name for c in changes for name in c.activations}))
    objective = Objective.of(known)
    sums = _Sums(graph, changes, all(objective.takes(sample.label) for sample in samples))
    rng = np.random.default_rng(seed)
    error = 0.0
    with progress.stage("derivatives", len(samples)) as step:
        for sample, row in zip(samples, rows, strict=True):
            error = max(error, check_same(graph, sample.feeds, row))
            sums.add(objective, sample, rng)
            step()
    made = {name: _filled(rounding, places, len(samples)) for name, places in sums.places().items()}
    return Derivatives(**made, samples=len(samples), labelled=sums.labelled, error=error)


@dataclass(slots=True, eq=False)
class _Sums:
    """Sums over the samples, for each slot and choice."""

    graph: TorchGraph
    changes: Sequence[Perturbation]
    labelled: bool
    gradient: dict[_Place, float] = field(default_factory=lambda: defaultdict(float))
    fisher: dict[_Place, float] = field(default_factory=lambda: defaultdict(float))
    snip: dict[_Place, float] = field(default_factory=lambda: defaultdict(float))
    curvature: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    numbers: dict[str, int] = field(default_factory=dict)

    def add(self, objective: Objective, sample: Sample, rng: np.random.Generator) -> None:
        """One sample's share."""
        variables, outputs = self._run(sample)
        projection = objective.projection(outputs, rng, labelled=self.labelled)
        projected = _gradients(projection, variables)
        for name, gradient in projected.items():
            self.curvature[name] += float((gradient.astype(np.float64) ** 2).mean())
            self.numbers[name] = gradient.size
        if self.labelled and sample.label is not None:
            self._add_first(_gradients(objective.cross_entropy(outputs, sample.label), variables))
        else:
            self._add_first(projected)

    def _run(self, sample: Sample) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Run the graph once: what is differentiated by, and the outputs."""
        wanted = {name for change in self.changes for name in change.constants}
        weights = {
            name: tensor.detach().requires_grad_()
            for name, tensor in self.graph.weights.items()
            if name in wanted
        }
        feeds = tensors_of(sample.feeds)
        for tensor in feeds.values():
            tensor.requires_grad_(tensor.is_floating_point())
        outputs = self.graph(feeds, weights)
        held = {name for change in self.changes for name in change.activations}
        activations = {n: t for n, t in {**feeds, **outputs}.items() if n in held}
        variables = {**weights, **{n: t for n, t in activations.items() if t.requires_grad}}
        return variables, outputs

    def _add_first(self, gradients: Mapping[str, Array]) -> None:
        """First derivatives of one sample, by name."""
        squares = {name: float((g**2).sum()) for name, g in gradients.items()}
        sizes = {name: float(np.abs(g).sum()) for name, g in gradients.items()}
        for change in self.changes:
            place = change.row, change.column
            products = [
                gradients[name] * delta
                for name, delta in change.constants.items()
                if name in gradients
            ]
            errors = {n: e for n, e in change.activations.items() if n in gradients}
            random = sum(squares[name] * error for name, error in errors.items())
            along = sum(float(p.sum()) for p in products) ** 2
            diagonal = sum(float((p**2).sum()) for p in products)
            half = 0.5 if self.labelled else 1.0
            self.gradient[place] += half * (along + random)
            self.fisher[place] += half * (diagonal + random)
            self.snip[place] += sum(float(np.abs(p).sum()) for p in products)
            self.snip[place] += sum(sizes[name] * error**0.5 for name, error in errors.items())

    def places(self) -> dict[str, Mapping[_Place, float]]:
        """The sums of each kind, by slot and choice."""
        return {
            "gradient": self.gradient,
            "fisher": self.fisher,
            "snip": self.snip,
            "hessian": {(c.row, c.column): self._flat(c) for c in self.changes},
        }

    def _flat(self, change: Perturbation) -> float:
        """The mean curvature of each tensor, times the squared length of its error."""
        constants = sum(
            self.curvature[name] * float((delta**2).sum())
            for name, delta in change.constants.items()
        )
        activations = sum(
            self.curvature[name] * self.numbers.get(name, 0) * error
            for name, error in change.activations.items()
        )
        return constants + activations


def _gradients(loss: Tensor, variables: Mapping[str, Tensor]) -> dict[str, Array]:
    """First derivatives by name; without what the loss does not depend on."""
    torch = import_torch()
    tensors = list(variables.values())
    found = torch.autograd.grad(loss, tensors, retain_graph=True, allow_unused=True)
    pairs = zip(variables, found, strict=True)
    return {name: gradient.numpy() for name, gradient in pairs if gradient is not None}


def _filled(rounding: Rounding, places: Mapping[_Place, float], samples: int) -> Table:
    """A table of means over the samples."""
    table = rounding.table()
    for place, total in places.items():
        table[place] = total / samples
    return table
