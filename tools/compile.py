"""`hwc compile`: a model and a device in, a verified bundle out."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..toolchain.plan import Precision
from . import options
from .options import parse_precision, parse_shape

if TYPE_CHECKING:
    from .request import Request

_PRECISIONS = tuple(Precision)
_METHODS = ("minmax", "percentile", "mse", "entropy")


def _finite(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """Refuse `nan` and `inf`, which are numbers to click."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.", context, option)
    return value


_POSITIVE: dict[str, Any] = {
    "type": click.FloatRange(min=0, min_open=True),
    "callback": _finite,
}


@click.command("compile")
@click.argument("model")
@click.option("--device", default="host", show_default=True, help="A device, or a profile's .yaml.")
@click.option("--power-mode", default="", help="One of the device's power modes.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The bundle. [MODEL.hwc]")
@click.option("--data", default="", help="Samples: npz, folder, or module:function.")
@click.option("--preprocess", help='For pictures: "resize=256 crop=224 mean=… std=… layout=nchw".')
@click.option("--samples", type=click.IntRange(min=1), help="Use so many of them.")
@click.option("--eval", "evaluation", default="", help="Labelled samples to judge by.")
@click.option(
    "--metric", default="auto", show_default=True, help="auto, top1, top5 or module:function."
)
@click.option("--max-drop", default="1%", show_default=True, help="Largest loss of the metric.")
@click.option("--max-latency", **_POSITIVE, help="In ms.")
@click.option("--max-size", **_POSITIVE, help="In MB.")
@click.option(
    "--precision", "precisions", help=f"Choose among these, e.g. {','.join(_PRECISIONS)}."
)
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
    type=click.Choice(["latency", "size", "drop"]),
    default="latency",
    show_default=True,
    help="What to minimise within the limits.",
)
@options.policy
@click.option(
    "--calibration",
    type=click.Choice(_METHODS),
    default="mse",
    show_default=True,
    help="How the range of a tensor is chosen.",
)
@options.inputs
@click.option("--surgery", help="file.py:function on the onnx-graphsurgeon graph, first.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="0: one a core.")
@options.table
@options.remeasure
@click.option("--allow-random-calibration", "random_calibration", is_flag=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
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
    """  # noqa: D301 - click wants the escape
    from .compiling import compile_model  # noqa: PLC0415 - numpy, onnx and onnxruntime
    from .render import print_report, progress  # noqa: PLC0415 - rich

    request = _request(asked)
    with progress(quiet=quiet, verbose=verbose) as told:
        bundle = compile_model(request, told)
    with bundle:
        print_report(bundle.report(), request.target, as_json=as_json)


def parse_precisions(text: str | None) -> tuple[Precision, ...]:
    """Read `--precision`: names with commas between them; fp32 is always among them.

    Raises:
        UsageError: There is no such precision.
    """
    if text is None:
        return ()
    names = map(parse_precision, text.split(","))
    return tuple(dict.fromkeys([Precision.FP32, *names]))


def _request(asked: dict[str, Any]) -> "Request":
    from ..toolchain.accuracy.drop import parse_drop  # noqa: PLC0415 - numpy
    from ..toolchain.calibration import Method  # noqa: PLC0415 - numpy
    from ..toolchain.search.problem import Objective  # noqa: PLC0415 - numpy
    from .request import Request  # noqa: PLC0415 - numpy

    size = asked.pop("max_size")
    return Request(
        max_drop=parse_drop(asked.pop("max_drop")),
        max_latency_ms=asked.pop("max_latency"),
        max_size=None if size is None else math.ceil(size * 1e6),
        precisions=parse_precisions(asked.pop("precisions")),
        calibration=Method(asked.pop("calibration")),
        objective=Objective(asked.pop("objective")),
        inputs=dict(map(parse_shape, asked.pop("inputs"))),
        **asked,
    )
