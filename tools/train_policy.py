"""`hwc train-policy`: trains the policy that proposes plans, from seeds and profiles alone."""

from importlib.util import find_spec
from pathlib import Path

import click

from ..toolchain.errors import UsageError
from ..toolchain.output import check_target
from . import options

# Written out, so that `--help` need not import what draws networks; a test compares them.
FAMILIES = ("plain", "residual", "depthwise", "attention", "branched")
SHIPPED = "policy.safetensors"
_NEEDED = ("torch", "stable_baselines3", "sb3_contrib", "gymnasium")


@click.command("train-policy")
@click.argument("models", nargs=-1)
@click.option(
    "--device", "--devices", "devices", multiple=True, help="Device to learn for. [all of hwc's]"
)
@click.option(
    "--family",
    "families",
    multiple=True,
    type=click.Choice(FAMILIES),
    help="Design of the networks that are drawn. [all]",
)
@click.option(
    "--problems",
    type=click.IntRange(min=8),
    default=300,
    show_default=True,
    help="Networks to draw, each on one device.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    default=100_000,
    show_default=True,
    help="Decisions of the play that follows imitation; 0: none.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path(SHIPPED), show_default=True
)
@options.force
@options.quiet
@options.json_output
def command(  # noqa: PLR0913 - one for each option
    *,
    models: tuple[str, ...],
    devices: tuple[str, ...],
    families: tuple[str, ...],
    problems: int,
    steps: int,
    seed: int,
    output: Path,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train a policy on drawn networks and on MODELS, and say how good it is.

    It imitates exact solutions and then plays. Of MODELS the graph is used alone, no weights and
    no data. Without arguments this makes the policy that comes with hwc, in some minutes.

    \b
    hwc train-policy
    hwc train-policy --device my_board.yaml --seed 1 -o my_board.safetensors
    hwc train-policy model.onnx other.onnx --device jetson_orin
    """  # noqa: D301 - click wants the escape
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise UsageError(
            f"train-policy needs {', '.join(missing)}", "pip install 'hwc-compiler[rl]'"
        )
    check_target(output, force=force)
    from .render import progress  # noqa: PLC0415 - rich
    from .training import Asked, print_training, train_as_asked  # noqa: PLC0415 - torch

    asked = Asked(models, devices, families or FAMILIES, problems, steps, seed)
    with progress(quiet=quiet) as told:
        trained = train_as_asked(asked, told)
    from ..toolchain.search.rl.policy_file import write_policy  # noqa: PLC0415 - numpy

    write_policy(output, trained, force=force)
    print_training(trained, output, as_json=as_json)
