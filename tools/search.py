"""`hwc search`: strategies side by side, at equal budgets of true evaluations."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options
from .options import parse_precisions, parse_shape

if TYPE_CHECKING:
    from .searching import Asked


@click.command("search")
@click.argument("model")
@options.device
@options.power_mode
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A folder. [MODEL.search]")
@options.data
@options.preprocess
@options.samples
@options.evaluation
@options.metric
@click.option(
    "--strategies",
    default="rl,exact,evolution,random",
    show_default=True,
    help=f"Of {','.join(options.STRATEGIES)}.",
)
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    default=160,
    show_default=True,
    help="True evaluations of each search.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="So many, from --seed on.",
)
@click.option(
    "--objective",
    default="drop",
    show_default=True,
    help="Minimise drop (the loss), latency, size or energy; or a sum: latency=1,drop=0.5.",
)
@options.max_latency
@options.max_size
@options.max_energy
@click.option("--max-loss", **options.positive, help="Largest true loss of a plan.")
@options.precisions
@options.sensitivity
@options.policy
@options.ray
@options.calibration
@options.inputs
@options.all_threads
@options.table
@options.remeasure
@options.seed
@options.quiet
@click.option("-v", "--verbose", is_flag=True, help="Say more on the way.")
@options.json_output
def command(*, as_json: bool, quiet: bool, verbose: bool, **asked: Any) -> None:  # noqa: ANN401 - click's values
    """Compare strategies on MODEL, and write what each tried and found into a folder.

    exact is always among them: what the others are held against. Ctrl-C ends the search that runs
    and keeps what was found; the same command goes on where it stopped.

    \b
    hwc search model.onnx --data calib.npz
    hwc search model.onnx --data calib.npz --strategies rl,evolution,ddpg --seeds 3
    hwc search model.onnx --data calib.npz --objective latency --max-loss 0.01
    """  # noqa: D301 - click wants the escape
    from .render import progress  # noqa: PLC0415 - rich
    from .search_report import print_outcome  # noqa: PLC0415 - rich
    from .searching import search_model  # noqa: PLC0415 - numpy, onnx and onnxruntime

    wanted = _asked(asked)
    with progress(quiet=quiet, verbose=verbose) as told:
        outcome = search_model(wanted, told)
    print_outcome(outcome, wanted.folder, as_json=as_json)
    if outcome.interrupted:
        raise KeyboardInterrupt


def _asked(asked: dict[str, Any]) -> "Asked":
    from ..toolchain.calibration import Method  # noqa: PLC0415 - numpy
    from .objectives import parse_objective  # noqa: PLC0415 - numpy
    from .request import Request  # noqa: PLC0415 - numpy
    from .searching import Asked  # noqa: PLC0415 - numpy

    size, loss = asked.pop("max_size"), asked.pop("max_loss")
    strategies = dict.fromkeys(name.strip() for name in asked.pop("strategies").split(","))
    budget, seeds = asked.pop("budget"), asked.pop("seeds")
    request = Request(
        max_latency_ms=asked.pop("max_latency"),
        max_size=None if size is None else math.ceil(size * 1e6),
        precisions=parse_precisions(asked.pop("precisions")),
        calibration=Method(asked.pop("calibration")),
        max_energy_mj=asked.pop("max_energy"),
        **parse_objective(asked.pop("objective")),
        inputs=dict(map(parse_shape, asked.pop("inputs"))),
        **asked,
    )
    return Asked(request, tuple(strategies), budget, seeds, math.inf if loss is None else loss)
