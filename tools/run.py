"""`hwc run`: one inference of a bundle, from a file to a file."""

from pathlib import Path

import click

from ..toolchain.bundle import Bundle
from ..toolchain.engine import Feeds
from ..toolchain.errors import OutputError
from ..toolchain.npz import write_npz
from ..toolchain.output import atomic_output, check_target
from . import options
from .backends import open_backend
from .loaded import load_engine, read_feeds
from .render import console


@click.command()
@options.bundle
@click.option(
    "--input",
    "source",
    type=click.Path(path_type=Path),
    required=True,
    help="An npz file with one array for each input, named like it.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Where the outputs go, as an npz file; without it they are only listed.",
)
@options.threads
@options.force
def command(bundle: Path, source: Path, output: Path | None, threads: int, *, force: bool) -> None:
    """Run a bundle once on inputs from a file.

    \b
    hwc run effnet.hwc --input x.npz -o y.npz
    """  # noqa: D301 - click wants the escape
    if output is not None:
        _check_output(output, force=force)
    with Bundle.open(bundle) as opened:
        runner = load_engine(opened, open_backend(opened.manifest.backend), threads)
        outputs = runner(read_feeds(source, opened))
    if output is not None:
        with atomic_output(output, force=force) as place:
            write_npz(place, outputs)
    _list(outputs)


def _check_output(output: Path, *, force: bool) -> None:
    check_target(output, force=force)
    if output.is_dir():  # --force is about a file: a folder would go with all that is in it
        raise OutputError(f"{output}: is a folder", "name a file with -o")


def _list(outputs: Feeds) -> None:
    out = console()
    for name, array in outputs.items():
        shape = "x".join(str(size) for size in array.shape) or "scalar"
        out.print(f"{name}: {array.dtype} {shape}", markup=False)
