"""What zeros save in a file, and what they lose, beside formats of fewer bits; nothing is trained.

Run `python tests/bench/stored_zeros.py`. Every slot of a network runs in int8, and each weight that
can be is stored in one format. Sizes are those of the packed file; the drop, in points of top-1
with its paired 95 % interval, is that of the 5,000 evaluation images.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hwc.backends import ort
from hwc.toolchain.accuracy.data import load_samples
from hwc.toolchain.accuracy.evaluator import Reference, measure
from hwc.toolchain.accuracy.metrics import choose_metric
from hwc.toolchain.frontend.shapes import model_inputs
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.progress import Silent
from hwc.toolchain.slots import Slot
from hwc.toolchain.storage.formats import Format, parse_formats
from hwc.tools.request import Request
from hwc.tools.stages.decide import find_space
from hwc.tools.stages.package import Packaging, model_size
from hwc.tools.stages.prepare import prepare
from hwc.tools.stages.target import find_target
from support.devkit import SkipError, cases
from support.tables import markdown, points, say

DATA = Path(__file__).resolve().parent / "support" / "cifar.py"
FORMATS = (
    "float6e2m3,lsq4,lsq4~25,lsq4~40,lsq4~50,lsq4~50x4,lsq4~60,"
    "float4e2m1,float4e2m1~50,lsq3,lsq3~50,lsq3~50x4,lsq2"
)


def chosen(slot: Slot, form: Format | None) -> NodeChoice:
    """A slot's int8 kernel with its weight in a format; fp32 where there is none."""
    stored = [c for c in slot.choices if form is not None and c.storage == str(form)]
    plain = [c for c in slot.choices if c.precision is Precision.INT8 and not c.storage]
    return next(iter((*stored, *plain, *slot.choices)))


def rows(name: str, formats: tuple[Format, ...]) -> Iterator[tuple[str, ...]]:
    """The rows of one model's table."""
    (case,) = cases([name])
    precisions = (Precision.FP32, Precision.INT8)
    data = f"{DATA}:judging"
    request = Request(str(case.path), data=data, storage=formats, precisions=precisions)
    prepared = prepare(request, target := find_target(request), Silent())
    space = find_space(request, target, prepared, Silent())
    samples = load_samples(f"{DATA}:evaluation", model_inputs(prepared.original))
    whole = Reference.of(ort.Session(prepared.original, ort.Options(1)), samples, "evaluation")
    metric = choose_metric("top1", whole.outputs, labelled=True, max_drop=0.01)
    for form in (None, *formats):
        plan = Plan.of((slot.name, chosen(slot, form)) for slot in space.slots.slots)
        with tempfile.TemporaryDirectory() as folder:
            packaging = Packaging((form,) if form else (), most=0)
            packaging.save(space.writer.write(plan), Path(folder))
            size = model_size(Path(folder))
        run = ort.Session(space.simulator.write(plan), ort.Options(1, integers=True))
        got = measure(run, whole, metric)
        drop = f"{points(got.drop.value)} ({points(got.drop.low)} to {points(got.drop.high)})"
        yield str(form or "int8"), str(size), points(got.compiled.value.value), drop


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=["resnet20_cifar10_v2"], metavar="NAME")
    parser.add_argument("--storage", default=FORMATS, help="the formats [%(default)s]")
    asked = parser.parse_args()
    try:
        for name in asked.models:
            say(f"\n{name}\n")
            head = ["stored in", "bytes", "top-1", "drop, points"]
            say(markdown(head, list(rows(name, parse_formats(asked.storage)))))
    except SkipError as reason:
        say(f"skipped: {reason}")


if __name__ == "__main__":
    main()
