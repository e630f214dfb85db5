"""Arguments and options that several commands share."""

from pathlib import Path

import click

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
