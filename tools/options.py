"""Arguments and options that several commands share, and how their values are read."""

from pathlib import Path

import click

from ..toolchain.errors import UsageError
from ..toolchain.plan import Precision

bundle = click.argument("bundle", type=click.Path(path_type=Path))
json_output = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")
force = click.option("--force", is_flag=True, help="Replace the output if it exists.")
threads = click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Threads of one inference; 0: one for each core.",
)
original = click.option(
    "--original",
    type=click.Path(path_type=Path),
    help="The model that was compiled, where it is not at its old path.",
)
inputs = click.option(
    "--input", "inputs", multiple=True, help="Fix a shape: 1x3x224x224 or name=1x3x224."
)
table = click.option(
    "--table", type=click.Path(path_type=Path), help="Latency table. [user's cache]"
)
remeasure = click.option(
    "--remeasure", is_flag=True, help="Measure even what the table already holds."
)
STRATEGIES = (
    "rl",
    "exact",
    "evolution",
    "local",
    "random",
    "ddpg",
    "hierarchical",
    "joint",
    "greedy",
    "uniform",
)
policy = click.option(
    "--policy", type=click.Path(path_type=Path), help="Of hwc train-policy. [hwc's own]"
)
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress.")


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read `--input`: `1x3x224x224` for the only input, or `name=1x3x224x224`.

    Raises:
        UsageError: It is no shape.
    """
    name, _, shape = text.rpartition("=")
    sizes = shape.split("x")
    if not all(size.isascii() and size.isdigit() and int(size) for size in sizes):
        raise UsageError(
            f"--input {text!r} is not a shape", "write 1x3x224x224 or name=1x3x224x224"
        )
    return name, tuple(map(int, sizes))


def parse_precision(text: str) -> Precision:
    """Read one name of `--precision`.

    Raises:
        UsageError: There is no such precision.
    """
    if text not in tuple(Precision):
        raise UsageError(
            f"--precision: there is no {text!r}",
            f"there are {', '.join(Precision)}; put commas between them",
        )
    return Precision(text)
