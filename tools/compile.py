"""`hwc compile`: a model and a device in, a verified bundle out."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options
from .options import parse_methods, parse_precisions, parse_shape

if TYPE_CHECKING:
    from .request import Request


@click.command("compile")
@click.argument("model")
@options.device
@options.power_mode
@options.base
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The bundle. [MODEL.hwc]")
@options.data
@options.preprocess
@options.samples
@options.evaluation
@options.metric
@click.option("--max-drop", default="1%", show_default=True, help="Largest loss of the metric.")
@options.max_latency
@options.max_size
@options.max_energy
@options.precisions
@click.option(
    "--strategy",
    type=click.Choice(options.STRATEGIES),
    default="rl",
    show_default=True,
    help="How plans are searched; exact is what the others must beat.",
)
@click.option(
    "--effort",
    type=click.IntRange(0, 2),
    default=1,
    show_default=True,
    help="0: no evaluation; 1, 2: up to 160, 400.",
)
@click.option(
    "--objective",
    default="latency",
    show_default=True,
    help="Minimise latency, size, drop or energy; or a sum, e.g. latency=1,drop=0.5.",
)
@options.sensitivity
@options.policy
@options.ray
@options.methods
@options.storage
@options.recover
@options.importance
@options.initial
@options.train_data
@options.train_minutes
@options.augment
@options.recipe
@options.checkpoint
@options.calibration
@options.inputs
@click.option("--surgery", help="file.py:function on the onnx-graphsurgeon graph, first.")
@options.all_threads
@options.table
@options.remeasure
@click.option("--allow-random-calibration", "random_calibration", is_flag=True)
@options.seed
@click.option("--zip", "archive", is_flag=True, help="Deliver one file instead of a folder.")
@options.quiet
@click.option("-v", "--verbose", is_flag=True, help="Say what was fused, and what was not and why.")
@options.force
@options.json_output
def command(*, as_json: bool, quiet: bool, verbose: bool, **asked: Any) -> None:  # noqa: ANN401 - click's values
    """Compile MODEL (ONNX, .pt2 or module:factory) for a device.

    \b
    hwc compile model.onnx --device host --data calib.npz --max-drop 1%
    hwc compile model.onnx --device jetson_orin --data photos/ --preprocess "resize=256 crop=224"
    hwc compile mypkg.models:build --input 1x3x224x224 --device a100
    hwc compile model.onnx --data calib.npz --methods precision,prune,storage --max-size 0.5
    hwc compile new.onnx --data calib.npz --base old.hwc
    hwc compile model.onnx --data calib.npz --methods precision,prune --recover full \\
        --train-data train.npz --train-minutes 30 --augment "flip crop=4"
    """  # noqa: D301 - click wants the escape
    from .compiling import compile_model  # noqa: PLC0415 - numpy, onnx and onnxruntime
    from .render import print_report, progress  # noqa: PLC0415 - rich

    request = _request(asked)
    with progress(quiet=quiet, verbose=verbose) as told:
        bundle = compile_model(request, told)
    with bundle:
        print_report(bundle.report(), request.target, as_json=as_json)


def _request(asked: dict[str, Any]) -> "Request":
    from ..toolchain.accuracy.drop import parse_drop  # noqa: PLC0415 - numpy
    from ..toolchain.calibration import Method as Calibration  # noqa: PLC0415 - numpy
    from ..toolchain.storage.formats import parse_formats  # noqa: PLC0415 - where it is used
    from .objectives import parse_objective  # noqa: PLC0415 - numpy
    from .request import Method, Recover, Request  # noqa: PLC0415 - numpy

    recover, storage = asked.pop("recover"), asked.pop("storage")
    size = asked.pop("max_size")
    return Request(
        max_drop=parse_drop(asked.pop("max_drop")),
        max_latency_ms=asked.pop("max_latency"),
        max_size=None if size is None else math.ceil(size * 1e6),
        precisions=parse_precisions(asked.pop("precisions")),
        calibration=Calibration(asked.pop("calibration")),
        methods=tuple(map(Method, parse_methods(asked.pop("methods")))),
        recover=None if recover is None else Recover(recover),
        storage=parse_formats(storage),
        max_energy_mj=asked.pop("max_energy"),
        **parse_objective(asked.pop("objective")),
        inputs=dict(map(parse_shape, asked.pop("inputs"))),
        **asked,
    )
