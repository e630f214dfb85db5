"""Recovery without labels: how much of what rounding costs is won back, and how long that takes.

Run `python tests/bench/recovery_ptq.py`. Each model is quantised as one plan (every slot that can
be is int8; ranges by min-max or by least squared error; where bits are said, weights in so few)
and then recovered on calibration data without labels: biases, rounding, both. Top-1, agreement
with fp32 and KL divergence are those of evaluation data that nothing else sees; the drop has its
paired 95 % interval.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx_ir as ir
from hwc.backends import ort
from hwc.passes.apply import PlanWriter
from hwc.toolchain.accuracy.intervals import drop_interval
from hwc.toolchain.accuracy.losses import Answers, Distance
from hwc.toolchain.accuracy.measure import ratio_of
from hwc.toolchain.accuracy.metric import Tallied
from hwc.toolchain.calibration import Method
from hwc.toolchain.device import HOST
from hwc.toolchain.engine import Array, Feeds
from hwc.toolchain.plan import Plan, Precision
from hwc.toolchain.progress import Silent
from hwc.toolchain.recovery.layers import find_layers
from hwc.toolchain.recovery.narrow import narrow
from hwc.toolchain.recovery.recover import Effort, Recovery
from hwc.tools.request import Request
from hwc.tools.stages.decide import find_space
from hwc.tools.stages.prepare import prepare
from hwc.tools.stages.target import find_target
from support.calibration import arguments
from support.devkit import Case, SkipError, cases, kit
from support.tables import markdown, points, say

UPDATES = 400
METHODS = {
    "bias correction": Effort(rounding=False),
    "rounding": Effort(bias=False),
    "both": Effort(),
    "both, then by block": Effort(updates=UPDATES),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One model, quantised in one way.

    Attributes:
        model: Its name.
        ranges: How ranges of activations are chosen.
        bits: Of a weight.
    """

    model: str
    ranges: Method
    bits: int = 8


TASKS = (
    Task("efficientnet_lite0", Method.MINMAX),
    Task("efficientnet_lite0", Method.MSE),
    Task("resnet20_cifar10_v2", Method.MINMAX, bits=4),
)


@dataclass(frozen=True, slots=True)
class Judge:
    """Evaluation data with what the original answers.

    Attributes:
        feeds: Batch-1 samples.
        labels: The right classes, shape (samples,).
        outputs: Of the original.
    """

    feeds: Sequence[Feeds]
    labels: Array
    outputs: Sequence[Mapping[str, Array]]

    def judge(self, model: ir.Model) -> tuple[Array, Array, Array]:
        """Of each sample whether it is right, whether it is as before, and the KL divergence."""
        run = opened(model)
        made = [run(sample) for sample in self.feeds]
        distance = Distance.of(self.outputs).bind(Answers(self.outputs, [None] * len(self.feeds)))
        own, before = _classes(made), _classes(self.outputs)
        return own == self.labels, own == before, distance(iter(made))


def opened(model: ir.Model) -> ort.Session:
    """A session on one thread."""
    return ort.Session(model, ort.Options(threads=1))


def evaluation(case: Case, limit: int) -> tuple[list[Feeds], Array]:
    """Samples spread evenly over the evaluation data, with their labels."""
    spec = kit().SPEC[case.name]
    stored = kit().data(spec["data"])
    pictures, labels = kit().unpack(stored), stored["y"]
    chosen = np.linspace(0, len(labels) - 1, min(limit, len(labels))).round().astype(int)
    if case.task == "imagenet":
        read = partial(kit().pre_imagenet, size=spec["size"])
    else:
        read = partial(kit().pre_cifar, raw=spec.get("raw255", False))
    name = spec["input"]
    feeds: list[Feeds] = [{name: read(pictures[i])[None].astype(np.float32)} for i in chosen]
    return feeds, labels[chosen]


def quantised(task: Task, case: Case, work: Path) -> tuple[Recovery, ir.Model]:
    """The plan to recover, and the original."""
    _, data, *_ = arguments(case, work, labelled=False)
    precisions = (Precision.FP32, Precision.INT8)
    request = Request(
        *(str(case.path), None),
        device=HOST,
        data=data,
        calibration=task.ranges,
        precisions=precisions,
    )
    prepared = prepare(request, target := find_target(request), Silent())
    space = find_space(request, target, prepared, Silent())
    choices = ((slot.name, slot.choices[-1]) for slot in space.slots.slots)
    asked = Recovery(space.writer, Plan.of(choices), prepared.splits.calibrate, opened)
    if task.bits < Precision.INT8.weight_bits:
        asked = replace(asked, writer=narrowed(space.writer, asked.plan, task.bits))
    return asked, prepared.original


def narrowed(writer: PlanWriter, plan: Plan, bits: int) -> PlanWriter:
    """A writer whose weights fit so few bits."""
    layers = find_layers(writer.model, writer.slots, plan, writer.write(plan))
    return writer.recovered({n: a for layer in layers for n, a in narrow(layer, bits).items()})


def rows(task: Task, asked: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """The rows of one model's table."""
    (case,) = cases([task.model])
    recovery, original = quantised(task, case, asked.work)
    feeds, labels = evaluation(case, asked.limit)
    run = opened(original)
    judge = Judge(feeds, labels, [run(sample) for sample in feeds])
    right, *_ = judge.judge(original)
    plain = judge.judge(recovery.writer.write(recovery.plan))
    yield "fp32", points(float(right.mean())), *["-"] * 5
    yield "rounded to nearest", *_figures(right, plain, plain), "-"
    for name, effort in METHODS.items():
        begun = time.process_time()
        found = recovery.run(replace(effort, samples=asked.samples))
        spent = time.process_time() - begun
        graph = recovery.writer.recovered(found.constants).write(recovery.plan)
        yield name, *_figures(right, judge.judge(graph), plain), f"{spent:.0f} s"


_Judged = tuple[Array, Array, Array]


def _figures(right: Array, got: _Judged, plain: _Judged) -> tuple[str, ...]:
    drop = drop_interval(_scored(right), _scored(got[0]))
    kl, before = float(got[2].mean()), float(plain[2].mean())
    return (
        points(float(got[0].mean())),
        f"{points(drop.value)} ({points(drop.low)} to {points(drop.high)})",
        points(float(got[1].mean())),
        f"{kl:.5f}",
        f"{1 - kl / before:.0%}",
    )


def _scored(right: Array) -> Tallied:
    share = right.astype(np.float64)
    return Tallied(np.stack((share, np.ones(len(share))), 1), ratio_of, share)


def _classes(outputs: Sequence[Mapping[str, Array]]) -> Array:
    return np.array([next(iter(output.values())).argmax() for output in outputs])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=(), metavar="NAME", help="only these")
    parser.add_argument("--work", type=Path, default=Path("build/bench/recovery"))
    parser.add_argument("--limit", type=int, default=256, help="evaluation samples [%(default)s]")
    parser.add_argument(
        "--samples", type=int, default=24, help="unlabelled samples, a quarter to judge on"
    )
    asked = parser.parse_args()
    head = ["constants", "top-1", "drop, points", "agreement", "KL", "won back", "CPU"]
    try:
        for task in TASKS:
            if not asked.models or task.model in asked.models:
                say(f"\n{task.model}: ranges {task.ranges}, weights in {task.bits} bits\n")
                say(markdown(head, list(rows(task, asked))))
    except SkipError as reason:
        say(f"skipped: {reason}")


if __name__ == "__main__":
    main()
