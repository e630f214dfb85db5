"""`hwc package`: one update file from a bundle to another, such as for a USB stick."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ...toolchain.codec import canonical
from ...toolchain.errors import OutputError, UsageError
from ...toolchain.output import atomic_output, check_target, scratch_folder
from ...toolchain.update.content.from_bundle import Edition, from_bundle
from ...toolchain.update.delta.files import Folder
from ...toolchain.update.delta.header import Strategy
from ...toolchain.update.delta.make import Options
from ...toolchain.update.delta.strategies import Made, make
from ...toolchain.update.release import RELEASE
from .. import options
from ..render import progress
from . import agreement
from .agreement import NOT_MEASURED, Agreement, Asked, near_release

_SHARE = "Steps of --strategy quantized, beside the root mean square of a tensor's change. [0.5]"


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
@click.option("--share", **options.positive, help=_SHARE)
@agreement.options
@click.option(
    "--release",
    "release",
    type=click.Path(path_type=Path),
    help="Write the near release here, too: hwc publish takes it.",
)
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
    share: float | None,
    data: str | None,
    least: float | None,
    release: Path | None,
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

    --strategy quantized leads to a release near NEW instead, whose outputs are compared with those
    of NEW and OLD: on --data, else on the golden inputs of NEW, else on random ones.

    \b
    hwc package old.hwc new.hwc -o update.hwcu
    hwc package old.onnx new.onnx -o head.hwcu --strategy incremental --layer classifier
    hwc package old.hwc new.hwc -o u.hwcu --strategy quantized --data eval.npz --release near/
    """  # noqa: D301 - click wants the escape
    check_target(output, force=force)
    how = Options(Strategy(strategy), layers, not plain)
    asked = _near(how.strategy, Asked.of(share, data, least), release)
    if release is not None:
        _check_release(release, force=force)
    with (
        scratch_folder("hwc-package-") as place,
        progress(quiet=quiet or as_json) as shown,
    ):
        folders = [
            _release(path, place / name, Edition(product, str(seq), seq))
            for path, name, seq in ((old, "old", old_seq), (new, "new", new_seq))
        ]
        root = release or place / "near"
        with (
            Folder(folders[0]) as base,
            Folder(folders[1]) as exact,
            _target(exact, base, asked, root, force=force) as (target, found),
        ):
            made = make(target, base, output, how, shown)
    click.echo(_text(made, found, as_json=as_json))


def _near(strategy: Strategy, asked: Asked, release: Path | None) -> Asked | None:
    """What a near release is to be, where the strategy makes one.

    Raises:
        UsageError: It makes none, and something was said of it.
    """
    if strategy is Strategy.QUANTIZED:
        return asked
    if asked != Asked() or release is not None:
        message = "--share, --data, --min-agreement and --release are of quantized updates"
        raise UsageError(message, "add --strategy quantized")
    return None


@contextmanager
def _target(
    exact: Folder, base: Folder, asked: Asked | None, root: Path, *, force: bool
) -> Iterator[tuple[Folder, Agreement | None]]:
    """What the update leads to: the new release, or one near it that comes to be at `root`."""
    if asked is None:
        yield exact, None
        return
    with atomic_output(root, force=force) as stage:
        stage.mkdir()
        found = near_release(exact, base, stage, asked)
        with Folder(stage) as near:
            yield near, found


def _check_release(release: Path, *, force: bool) -> None:
    """Refuse, before any work, a folder that could not be written.

    Raises:
        OutputError: See `output.check_target`; or there is something that is no release.
    """
    check_target(release, force=force)
    if release.exists() and not (release / RELEASE).is_file():
        raise OutputError(f"{release}: is no folder of a release", "change --release")


def _release(source: Path, target: Path, edition: Edition) -> Path:
    """The folder of a release: what is one already is taken as it is."""
    if (source / RELEASE).is_file():
        return source
    from_bundle(source, target, edition, link=True)
    return target


def _text(made: Made, found: Agreement | None, *, as_json: bool) -> str:
    near = made.strategy is Strategy.QUANTIZED
    if not as_json:
        line = f"{made.path}: {made.strategy.value}, {made.why}"
        return f"{line}\n{found or NOT_MEASURED}" if near else line
    about = {
        "path": str(made.path),
        "size": made.size,
        "strategy": made.strategy,
        "why": made.why,
        "base": made.base,
        "release": made.release.digest,
    }
    return canonical(about | ({"agreement": found} if near else {}))
