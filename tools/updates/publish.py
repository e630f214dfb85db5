"""`hwc publish`: sign a release, make the update files that lead to it, and add them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from ...toolchain.errors import UsageError
from ...toolchain.output import scratch_folder
from ...toolchain.progress import Progress
from ...toolchain.update.content.from_bundle import Edition, from_bundle
from ...toolchain.update.delta.apply import apply
from ...toolchain.update.delta.file import UpdateFile
from ...toolchain.update.delta.files import Folder, PlainSink
from ...toolchain.update.delta.header import Strategy
from ...toolchain.update.delta.make import Options
from ...toolchain.update.delta.strategies import Made, make
from ...toolchain.update.refusal import Code, Refusal
from ...toolchain.update.release import Release
from ...toolchain.update.trust import oms
from ...toolchain.update.trust.repository import NewArtefact, Repository
from ...toolchain.update.trust.roles import TARGETS, prefixed
from .. import options
from ..render import console, progress, text_table
from . import agreement, signing
from .agreement import NOT_MEASURED, Agreement, Asked, near_release

_NEAR = (
    "Publish a release near BUNDLE instead, whose weights move from those of the first base by "
    "steps; such as 0.5, beside the root mean square of a tensor's change."
)
SIGNATURES = "signatures"  # folder of a repository: of model signing, which devices do not read
MEMORY = 64 << 20  # bytes that a device is asked to have free: the agent with its libraries


@click.command("publish")
@click.argument("bundle", type=click.Path(path_type=Path))
@signing.repository
@click.option("--product", default="", help="Needed where the repository has several.")
@click.option("--version", "version", default="", help="What people call it; default: its number.")
@click.option("--seq", type=click.IntRange(min=0), help="Default: one more than the last.")
@click.option(
    "--sec-epoch", type=click.IntRange(min=0), help="Raised: no older release runs any more."
)
@click.option(
    "--from",
    "bases",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A bundle that devices have; may be repeated. Default: the releases before.",
)
@click.option(
    "--deltas",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Without --from: from how many of the releases before.",
)
@click.option("--near", **options.positive, help=_NEAR)
@agreement.options
@click.option(
    "--model-key",
    type=click.Path(path_type=Path),
    help="Also sign the release's files with this P-256 key, as OpenSSF's model signing does.",
)
@signing.keys
@options.quiet
def command(  # noqa: PLR0913 - an option each
    bundle: Path,
    *,
    folder: Path,
    product: str,
    version: str,
    seq: int | None,
    sec_epoch: int | None,
    bases: tuple[Path, ...],
    deltas: int,
    near: float | None,
    data: str | None,
    least: float | None,
    model_key: Path | None,
    keys_folder: Path,
    passphrase_file: Path | None,
    quiet: bool,
) -> None:
    """Publish BUNDLE, made by hwc compile, a model file or a folder of a release, to a repository.

    Makes the full update file and a delta from each base, signs what there are keys for, and adds
    it. A new release goes to nobody until `hwc repo rollout` says so, if a rollout was ever set.
    With --near, the outputs of what is published are compared with those of BUNDLE and of the base.

    \b
    hwc publish new.hwc --repo fleet/ --from old.hwc
    hwc publish new.hwc --repo fleet/ --version 1.4
    hwc publish new.hwc --repo fleet/ --from old.hwc --near 0.5 --data eval.npz
    """  # noqa: D301 - click wants the escape
    repository = signing.opened(folder, keys_folder, passphrase_file)
    product = product or _only(repository)
    before = repository.releases(product)
    last = before[-1] if before else None
    number = (last.seq + 1 if last else 1) if seq is None else seq
    epoch = (last.sec_epoch if last else 0) if sec_epoch is None else sec_epoch
    edition = Edition(product, version or str(number), number, epoch)
    asked = Asked.of(near, data, least)
    if near is None and asked != Asked():
        raise UsageError("--data and --min-agreement are of near releases", "add --near 0.5")
    with scratch_folder("hwc-publish-") as place, progress(quiet=quiet) as shown:
        from_bundle(bundle, place / "new", edition, link=True)
        work = _Work(repository, place, shown)
        if bases:
            folders = [work.known(path, before, i) for i, path in enumerate(bases)]
        else:
            folders = [work.restored(old) for old in before[::-1][:deltas]]
        target, found = (place / "new", None) if near is None else work.near(folders, asked)
        made = list(work.update_files(target, folders))
        new = [NewArtefact(each.path, each.base, MEMORY) for each in made]
        lacking = repository.publish(made[0].release, new)
        if model_key is not None:
            signature = folder / SIGNATURES / f"{product}-{number}.sig"
            _sign_model(target, signature, model_key, repository)
    if not quiet:
        console().print(_table(made, before))
    if near is not None:
        click.echo(str(found or NOT_MEASURED))
    click.echo(signing.waiting(lacking, folder, f"{product} {edition.version} (seq {number})"))


def _sign_model(release: Path, signature: Path, key: Path, repository: Repository) -> None:
    signature.parent.mkdir(exist_ok=True)
    oms.sign(release, signature, key=key, passphrase=repository.keyring.ask(str(key)))
    click.echo(signature, err=True)


@dataclass(frozen=True, slots=True)
class _Work:
    repository: Repository
    place: Path
    progress: Progress

    def known(self, bundle: Path, before: Sequence[Release], index: int) -> Path:
        """The published release that a bundle is, as a folder.

        Raises:
            Refusal: No release has its files.
        """
        target = self.place / f"old{index}"
        found = from_bundle(bundle, target, Edition("unknown", "0", 0), link=True)
        match = next((release for release in before if release.files == found.files), None)
        if match is None:
            hint = "publish it first, or leave --from out"
            raise Refusal(Code.BASE, f"{bundle}: no published release has these files", hint)
        (target / "bundle.json").write_bytes(match.text())
        return target

    def restored(self, release: Release) -> Path:
        """A published release, from its full update file, as a folder."""
        target = self.place / f"seq{release.seq}"
        full = next(
            (
                artefact
                for artefact in self.repository.artefacts(release.product)
                if not artefact.base and artefact.path.split("/")[2] == str(release.seq)
            ),
            None,
        )
        if full is None:
            message = f"{release.product} {release.version} has no full update file"
            raise Refusal(Code.BASE, message, "name its bundle with --from")
        target.mkdir()
        path = self.repository.folder / TARGETS / prefixed(full.path, full.sha256)
        with UpdateFile.open(path) as update:
            apply(update, None, PlainSink(target), progress=self.progress)
        return target

    def near(self, olds: Sequence[Path], asked: Asked) -> tuple[Path, Agreement | None]:
        """The release near the new one that the devices with the first base reach in few bytes.

        Raises:
            Refusal: There is no base, or the two agree too little.
        """
        if not olds:
            hint = "name a bundle that devices have with --from, or leave --near out"
            raise Refusal(Code.STRATEGY, "there is no release before to start from", hint)
        root = self.place / "near"
        root.mkdir()
        with Folder(self.place / "new") as new, Folder(olds[0]) as old:
            return root, near_release(new, old, root, asked)

    def update_files(self, target: Path, olds: Sequence[Path]) -> Iterator[Made]:
        """The full update file, and a delta from each base that is smaller than that."""
        with Folder(target) as new:
            full = make(new, None, self.place / "full.hwcu", Options(Strategy.FULL), self.progress)
            yield full
            for index, old in enumerate(olds):
                with Folder(old) as base:
                    path = self.place / f"{index}.hwcu"
                    delta = make(new, base, path, Options(), self.progress)
                if delta.base:
                    yield delta


def _only(repository: Repository) -> str:
    products = repository.products()
    if len(products) != 1:
        raise click.UsageError(f"--product: there are {', '.join(products)}.")
    return products[0]


def _table(made: Sequence[Made], before: Sequence[Release]) -> object:
    names = {release.digest: release.version for release in before}
    rows = [
        (names.get(each.base, "nothing"), each.strategy.value, f"{each.size:,} B", each.why)
        for each in made
    ]
    return text_table(("from", "strategy", "size", "why"), rows)
