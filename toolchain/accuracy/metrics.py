"""The metric of a compilation: what the user named, or else what fits the model's outputs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..engine import Array
from ..errors import InputError, UsageError
from ..frontend.user_code import load_function
from .agreement import agreement_measures
from .intervals import Scored
from .kinds import class_rows, kind_of, looks_like_classes
from .labelled import Likelihood, TopK, UserMetric
from .measure import Measure
from .metric import Metric, Outputs, Rows, Tallied

EXAMPLES = 32
_TOP = ("top1", "top5")
_CROSS_ENTROPY = "cross-entropy"
_CLASSES = (*_TOP, _CROSS_ENTROPY)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the outputs are those of the original; the worst measure decides.

    Attributes:
        measures: Output and measure, in order.
        name: What the report calls it.
        why: Why each output is measured as it is.
    """

    measures: Sequence[tuple[str, Measure]]
    name: str
    why: str

    def score(
        self,
        outputs: Iterable[Outputs],
        reference: Iterable[Outputs],
        labels: Iterable[Array | None],  # noqa: ARG002 - there are none
    ) -> Scored:
        """Compare with the original's outputs."""
        pairs = zip(outputs, reference, strict=True)
        rows = [[m.tally(out[name], ref[name]) for name, m in self.measures] for out, ref in pairs]
        columns = [np.array(column) for column in zip(*rows, strict=True)]
        finish = self._finisher([column.shape[1] for column in columns])
        return Tallied(np.concatenate(columns, axis=1), finish, self._counted(columns))

    def _finisher(self, lengths: Sequence[int]) -> Callable[[Array], Array]:
        """The worst of all measures' figures."""
        cuts = np.cumsum(lengths)[:-1]

        def finish(sums: Array) -> Array:
            parts = np.split(sums, cuts, axis=1)
            figures = [m.finish(p) for (_, m), p in zip(self.measures, parts, strict=True)]
            worst: Array = np.min(figures, axis=0)
            return worst

        return finish

    def _counted(self, columns: Sequence[Array]) -> Array | None:
        """Each sample's agreement by the worst of the counted measures."""
        counted = [c[:, 0] for (_, m), c in zip(self.measures, columns, strict=True) if m.counted]
        return min(counted, key=np.mean, default=None)


def choose_metric(spec: str, reference: Rows, *, labelled: bool, max_drop: float = 1.0) -> Metric:
    """Make the metric that the user named, or the one that fits the outputs.

    With fewer samples than it takes to see a drop of `max_drop` in counts of right answers, `auto`
    judges by the outputs' numbers: one changed answer among thirty is 3 %, and none says little.

    Args:
        spec: `auto`, `top1`, `top5`, `cross-entropy` or `module:function`.
        reference: Outputs of the original model.
        labelled: Whether the samples have labels.
        max_drop: The drop that matters, as a fraction.

    Raises:
        UsageError: No such metric, or it needs labels.
        InputError: The model's outputs do not fit the metric, or the function is not found.
    """
    if spec == "auto":
        if len(reference) * max_drop < 1.0:
            few = f"{len(reference)} samples are too few to count a drop of {max_drop:.2%} in"
            return agreement(reference, few, counted=False)
        return _automatic(reference, labelled=labelled)
    if spec not in _CLASSES and ":" not in spec:
        known = ", ".join(("auto", *_CLASSES))
        raise UsageError(f"unknown metric '{spec}'", f"use {known} or module:function")
    if not labelled:
        hint = "put them into the data as 'label', or give labelled data with --eval"
        raise UsageError(f"--metric {spec} needs labels", hint)
    if spec in _CLASSES:
        output = _class_output(reference[0])
        if output is None:
            shapes = ", ".join(
                f"{name} {list(array.shape)}" for name, array in reference[0].items()
            )
            raise InputError(
                f"--metric {spec} needs an output of class scores [batch, classes], not {shapes}",
                "use --metric module:function",
            )
        if spec == _CROSS_ENTROPY:
            examples = [reference[index][output] for index in range(min(EXAMPLES, len(reference)))]
            return Likelihood(output, kind_of(examples).probabilities)
        k = min(int(spec.removeprefix("top")), class_rows(reference[0][output]).shape[1])
        return TopK(k, output, spec)
    return UserMetric(load_function(spec), spec)


def agreement(
    reference: Rows, remark: str = "no labels", *, counted: bool | None = None
) -> Agreement:
    """The agreement that fits the original's outputs, judged by a few of them.

    Args:
        reference: The outputs.
        remark: Why this is what is measured.
        counted: Take those measures alone that count samples, or those that do not, where an output
            has such; None: all.
    """
    step = max(1, len(reference) // EXAMPLES)
    examples = [reference[index] for index in range(0, len(reference), step)][:EXAMPLES]
    kinds = {name: kind_of([out[name] for out in examples]) for name in examples[0]}
    measures = {name: agreement_measures(kind) for name, kind in kinds.items()}
    if counted is not None:
        some = {n: [m for m in named if m[1].counted == counted] for n, named in measures.items()}
        measures = {name: some[name] or named for name, named in measures.items()}
    reasons = [
        f"{name} {list(examples[0][name].shape)} is {kind.kind} ({kind.why}): "
        + " and ".join(dict.fromkeys(title for title, _ in measures[name]))
        for name, kind in kinds.items()
    ]
    titles = dict.fromkeys(title for named in measures.values() for title, _ in named)
    return Agreement(
        [(name, measure) for name, named in measures.items() for _, measure in named],
        f"agreement ({', '.join(titles)})",
        f"{remark}; " + "; ".join(reasons),
    )


def _automatic(reference: Rows, *, labelled: bool) -> Metric:
    """Top-1 with labels of a classifier, agreement otherwise."""
    output = _class_output(reference[0])
    if not labelled:
        return agreement(reference)
    if output is None or len(reference[0]) > 1:
        return agreement(reference, "labels are not used, since no output is only class scores")
    return TopK(1, output, "top1", f"labels, and {output} holds class scores")


def _class_output(outputs: Outputs) -> str | None:
    """The first output that has the shape of class scores."""
    return next((name for name, array in outputs.items() if looks_like_classes(array)), None)
