"""`hwc train-policy`: trains the policy that proposes plans, from seeds and profiles alone."""

import shlex
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click

from ..toolchain.errors import UsageError
from ..toolchain.output import check_target
from ..toolchain.search.rl.networks import Family
from ..toolchain.search.rl.policy_file import SHIPPED, Trained, write_policy
from . import options
from .render import console, progress

_NEEDED = ("torch", "stable_baselines3", "sb3_contrib", "gymnasium")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked for."""

    devices: tuple[str, ...]
    families: tuple[Family, ...]
    problems: int
    steps: int
    seed: int


@click.command("train-policy")
@click.option("--device", "devices", multiple=True, help="Device to learn for. [all]")
@click.option(
    "--family",
    "families",
    multiple=True,
    type=click.Choice([family.value for family in Family]),
    help="Design of network to learn on. [all]",
)
@click.option("--problems", type=click.IntRange(min=8), default=300, show_default=True)
@click.option(
    "--steps", type=click.IntRange(min=0), default=200_000, show_default=True, help="Of play."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path(SHIPPED), show_default=True
)
@options.force
@options.quiet
def train_policy(  # noqa: PLR0913 - one for each option
    *,
    devices: tuple[str, ...],
    families: tuple[str, ...],
    problems: int,
    steps: int,
    seed: int,
    output: Path,
    force: bool,
    quiet: bool,
) -> None:
    """Train a policy on drawn networks, priced for the devices, and say how good it is.

    It imitates exact solutions and then plays. Without options this makes the policy that comes
    with hwc, in a few minutes.

    \b
    hwc train-policy
    hwc train-policy --device my_board.yaml --seed 1 -o my_board.safetensors
    """  # noqa: D301 - click wants the escape
    check_target(output, force=force)
    asked = _Asked(devices, tuple(map(Family, families)) or tuple(Family), problems, steps, seed)
    trained = _train(asked, quiet=quiet)
    write_policy(output, trained, force=force)
    _print(trained, output)


command = train_policy  # the name under which the command line finds a subcommand


def _train(asked: _Asked, *, quiet: bool) -> Trained:
    """Train as asked.

    Raises:
        UsageError: What learns is not installed.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"train-policy needs {', '.join(missing)}", "pip install 'hwc-compiler[rl]'"
        )
    # They take seconds to import, and are needed only here.
    from ..toolchain.search.rl.ppo import Refining  # noqa: PLC0415
    from ..toolchain.search.rl.train import Recipe, train  # noqa: PLC0415

    recipe = Recipe(
        devices=asked.devices,
        families=asked.families,
        problems=asked.problems,
        seed=asked.seed,
        refining=Refining(steps=asked.steps) if asked.steps else None,
    )
    with progress(quiet=quiet) as told:
        return train(recipe, command=_command(asked), progress=told)


def _command(asked: _Asked) -> str:
    """What makes the same policy again."""
    words = ["hwc", "train-policy", "--problems", str(asked.problems), "--steps", str(asked.steps)]
    words += ["--seed", str(asked.seed)]
    for device in asked.devices:
        words += ["--device", device]
    if asked.families != tuple(Family):
        for family in asked.families:
            words += ["--family", family]
    return shlex.join(words)


def _print(trained: Trained, output: Path) -> None:
    figures = trained.training.figures
    out = console()
    out.print(
        f"On {figures['problems']:.0f} problems that it has not seen, its plan reaches "
        f"{figures['share_mean']:.1%} of the exact solver's gain over uniform precision in the "
        f"mean ({figures['share_median']:.1%} in the median), and 90 % or more in "
        f"{figures['good_plans']:.0%} of them, in {figures['seconds_mean'] * 1e3:.0f} ms "
        f"({figures['seconds_most'] * 1e3:.0f} ms at most).",
        f"Without sensitivities: {figures['blind_share_mean']:.1%} in the mean, "
        f"{figures['blind_share_median']:.1%} in the median.",
        f"wrote {output}",
        sep="\n",
        markup=False,
        highlight=False,
    )
