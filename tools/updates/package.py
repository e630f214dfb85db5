"""`hwc package`: one update file from a bundle to another, such as for a USB stick."""

import tempfile
from pathlib import Path

import click

from ...toolchain.codec import canonical
from ...toolchain.output import check_target
from ...toolchain.update.content.from_bundle import Edition, from_bundle
from ...toolchain.update.delta.files import Folder
from ...toolchain.update.delta.header import Strategy
from ...toolchain.update.delta.make import Options
from ...toolchain.update.delta.strategies import Made, make
from ...toolchain.update.release import RELEASE
from .. import options
from ..render import progress


@click.command("package")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@click.option(
    "--strategy",
    type=click.Choice([strategy.value for strategy in Strategy]),
    default=Strategy.AUTO.value,
    show_default=True,
)
@click.option("--layer", "layers", multiple=True, help="What --strategy incremental may change.")
@click.option("--plain", is_flag=True, help="For devices without pcodec; the file is larger.")
@click.option("--product", default="model", show_default=True)
@click.option("--old-seq", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--new-seq", type=click.IntRange(min=0), default=2, show_default=True)
@options.force
@options.json_output
@options.quiet
def command(  # noqa: PLR0913 - an option each
    old: Path,
    new: Path,
    *,
    output: Path,
    strategy: str,
    layers: tuple[str, ...],
    plain: bool,
    product: str,
    old_seq: int,
    new_seq: int,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make the update file that turns OLD into NEW: bundles, folders of releases or model files.

    It is not signed by itself: an agent takes it where a repository signs what it leads to.

    \b
    hwc package old.hwc new.hwc -o update.hwcu
    hwc package old.onnx new.onnx -o head.hwcu --strategy incremental --layer classifier
    """  # noqa: D301 - click wants the escape
    check_target(output, force=force)
    asked = Options(Strategy(strategy), layers, not plain)
    with (
        tempfile.TemporaryDirectory(prefix="hwc-package-") as place,
        progress(quiet=quiet or as_json) as shown,
    ):
        folders = [
            _release(path, Path(place) / name, Edition(product, str(seq), seq))
            for path, name, seq in ((old, "old", old_seq), (new, "new", new_seq))
        ]
        with Folder(folders[0]) as base, Folder(folders[1]) as target:
            made = make(target, base, output, asked, shown)
    click.echo(_text(made, as_json=as_json))


def _release(source: Path, target: Path, edition: Edition) -> Path:
    """The folder of a release: what is one already is taken as it is."""
    if (source / RELEASE).is_file():
        return source
    from_bundle(source, target, edition, link=True)
    return target


def _text(made: Made, *, as_json: bool) -> str:
    if not as_json:
        return f"{made.path}: {made.strategy.value}, {made.why}"
    about = {
        "path": str(made.path),
        "size": made.size,
        "strategy": made.strategy,
        "why": made.why,
        "base": made.base,
        "release": made.release.digest,
    }
    return canonical(about)
