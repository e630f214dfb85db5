"""`hwc estimate`: what a model should take on a device, before anything is built."""

from pathlib import Path
from typing import Any

import click

from ..toolchain.plan import Precision
from . import options
from .options import parse_precision, parse_shape


@click.command("estimate")
@click.argument("model")
@click.option(
    "--device", default="host", show_default=True, help="A device, a profile's .yaml, or all."
)
@click.option("--power-mode", default="", help="One of the device's power modes.")
@click.option("--precision", "plans", help="Plans, e.g. fp16,int8+fp16. [all that run there]")
@click.option("--sparsity", type=click.Choice(["2:4"]), help="Weights with 2 zeros in each 4.")
@click.option("--batch", type=click.IntRange(min=1), help="Where the model leaves it free. [1]")
@click.option("--input", "inputs", multiple=True, help="Fix a shape: 1x3x224x224 or name=1x3x224.")
@click.option("--table", type=click.Path(path_type=Path), help="Latency table. [user's cache]")
@click.option("-v", "--verbose", is_flag=True, help="Each kernel: its time and what bounds it.")
@options.json_output
def command(*, as_json: bool, verbose: bool, **asked: Any) -> None:  # noqa: ANN401 - click's values
    """Predict latency, energy and memory of MODEL in each precision; weights need not be there.

    \b
    hwc estimate model.onnx --device jetson_orin
    hwc estimate model.onnx --device jetson_orin --precision int8 --power-mode 15W -v
    hwc estimate model.onnx --device all --json | jq '.devices[].plans[].latency'
    """  # noqa: D301 - click wants the escape
    from .estimating import estimate  # noqa: PLC0415 - numpy and onnx
    from .forecasts import print_answer  # noqa: PLC0415 - rich
    from .question import Question  # noqa: PLC0415 - numpy and onnx

    question = Question(
        plans=_plans(asked.pop("plans")),
        sparse=asked.pop("sparsity") is not None,
        inputs=dict(map(parse_shape, asked.pop("inputs"))),
        **asked,
    )
    print_answer(estimate(question), as_json=as_json, verbose=verbose)


def _plans(text: str | None) -> tuple[tuple[Precision, ...], ...]:
    """Read `--precision`: plans with commas between them, each a list of precisions with `+`."""
    if text is None:
        return ()
    return tuple(tuple(map(parse_precision, plan.split("+"))) for plan in text.split(","))
