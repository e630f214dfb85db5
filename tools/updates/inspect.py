"""`hwc inspect`: what is in an update file, what it costs, and what it changes."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import click

from ...toolchain.codec import canonical
from ...toolchain.update.content.from_bundle import Edition, from_bundle
from ...toolchain.update.delta.file import UpdateFile
from ...toolchain.update.delta.files import Folder
from ...toolchain.update.delta.inspect import Contents, Inspection, contents, inspect
from ...toolchain.update.refusal import Code, Refusal
from ...toolchain.update.release import RELEASE
from .. import options
from ..render import console, text_table
from .catalogue import read_catalogue

_MOST = 30  # tensors that are listed


@click.command("inspect")
@click.argument("update", type=click.Path(path_type=Path))
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    help="The release, bundle or model that it starts from: what changes in which tensor.",
)
@click.option(
    "--repo", type=click.Path(path_type=Path), help="Say who signed what it leads to here."
)
@click.option("--product", default="model", show_default=True, help="Of a base that is a bundle.")
@click.option("--seq", type=click.IntRange(min=0), default=1, show_default=True, help="The same.")
@options.json_output
def command(  # noqa: PLR0913 - an option each
    update: Path, *, base: Path | None, repo: Path | None, product: str, seq: int, as_json: bool
) -> None:
    """Show what UPDATE holds, what it costs, who signed it, and what it changes.

    \b
    hwc inspect update.hwcu
    hwc inspect update.hwcu --base old.hwc
    """  # noqa: D301 - click wants the escape
    with ExitStack() as stack:
        opened = stack.enter_context(_opened(update))
        found: Contents | Inspection = contents(opened)
        if base is not None or not opened.header.base:
            place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hwc-inspect-")))
            folder = None if base is None else _folder(base, place, Edition(product, str(seq), seq))
            known = None if folder is None else stack.enter_context(Folder(folder))
            found = inspect(opened, known)
        signed = "" if repo is None else _signer(repo, opened.header.release)
    if as_json:
        click.echo(canonical(found))
        return
    about = found if isinstance(found, Contents) else found.contents
    console().print(text_table(("", ""), [*_about(about), *_signature(signed)], title=str(update)))
    if isinstance(found, Inspection):
        console().print(text_table(("file", "bytes", "in the update"), _costs(found)))
        if found.changes:
            columns = ("tensor", "changed", "mean step", "largest", "relative", "in the update")
            console().print(text_table(columns, _changes(found)))


def _opened(path: Path) -> UpdateFile:
    try:
        return UpdateFile.open(path)
    except Refusal as cause:
        raise Refusal(cause.code, f"{path}: {cause.message}", cause.hint) from cause


def _folder(source: Path, place: Path, edition: Edition) -> Path:
    if (source / RELEASE).is_file():
        return source
    from_bundle(source, place / "base", edition, link=True)
    return place / "base"


def _signer(repo: Path, release: str) -> str:
    """Who stands for a release in a repository, every signature checked.

    Raises:
        Refusal: Nobody does.
    """
    for product in sorted({path.name for path in (repo / "targets" / "bundles").glob("*")}):
        for step in read_catalogue(repo, product).offer.steps:
            if step.release == release:
                return f"{product} {step.version} (seq {step.seq}), signed in {repo}"
    hint = "publish it, or name the repository that it came from"
    raise Refusal(Code.NOT_SIGNED, f"{repo}: no signed release is {release[:12]}", hint)


def _signature(signed: str) -> Iterator[tuple[str, str]]:
    unsigned = "not looked up (--repo); it counts only where a repository signs what it leads to"
    yield "signed", signed or unsigned


def _about(found: Contents) -> Iterator[tuple[str, str]]:
    yield "size", f"{found.size:,} B, {found.header:,} of them the header"
    yield "from", found.base[:12] or "nothing: a full update"
    yield "to", found.release[:12]
    yield "strategy", found.strategy.value
    yield "writes", f"{found.written:,} B in {found.files} files"
    yield "bytes written by", ", ".join(f"{name} {size:,}" for name, size in found.steps.items())
    yield "payload by method", ", ".join(f"{n} {size:,}" for n, size in found.methods.items())


def _costs(found: Inspection) -> Iterator[tuple[str, str, str]]:
    for cost in found.costs:
        yield cost.path, f"{cost.size:,}", f"{cost.payload:,} B"


def _changes(found: Inspection) -> Iterator[tuple[str, ...]]:
    costs = {name: size for cost in found.costs for name, size in cost.tensors.items()}
    ranked = sorted(found.changes, key=lambda change: -costs.get(change.name, 0))
    for change in ranked[:_MOST]:
        cost = f"{costs.get(change.name, 0):,} B"
        yield (
            *(change.name, f"{change.changed:.2%}", _number(change.mean)),
            *(_number(change.largest), _number(change.relative), cost),
        )
    if len(ranked) > _MOST:
        yield f"and {len(ranked) - _MOST} more", "", "", "", "", ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
