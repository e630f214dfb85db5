"""`hwc repo`: a repository of signed releases, and its signatures."""

from pathlib import Path

import click

from ...toolchain.update.trust.roles import PER_PRODUCT, Role
from ...toolchain.update.trust.rollout import WHOLE, Rollout
from ..render import console, text_table
from . import signing

_PERCENT = 100.0
_RENEWED = [role for role in Role if role not in {Role.SNAPSHOT, Role.TIMESTAMP}]  # touch does


@click.group("repo")
def command() -> None:
    """Make and look after the repository that a fleet is updated from.

    Any web server can serve its folders metadata and targets as they are.

    \b
    hwc repo init fleet/ --product doorbell
    hwc repo rollout doorbell --repo fleet/ --share 5
    """  # noqa: D301 - click wants the escape


@command.command("init")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--product", "products", multiple=True, required=True, help="May be repeated.")
@signing.keys
def init(
    folder: Path,
    *,
    products: tuple[str, ...],
    keys_folder: Path,
    passphrase_file: Path | None,
) -> None:
    """Make a repository in FOLDER; devices are given its metadata/1.root.json to trust."""
    signing.opened(folder, keys_folder, passphrase_file).init(products)
    click.echo(folder / "metadata" / "1.root.json")


@command.command("sign")
@signing.repository
@signing.keys
def sign(folder: Path, keys_folder: Path, passphrase_file: Path | None) -> None:
    """Add signatures to what waits for them, and publish it if that is enough."""
    lacking = signing.opened(folder, keys_folder, passphrase_file).sign()
    click.echo(signing.waiting(lacking, folder, f"{folder}: published"))


@command.command("touch")
@signing.repository
@signing.keys
def touch(folder: Path, keys_folder: Path, passphrase_file: Path | None) -> None:
    """Renew the timestamp and the snapshot; devices refuse them after 7 and 30 days.

    Deltas and rollouts are renewed as well, in the second half of their 90 days.
    """
    signing.opened(folder, keys_folder, passphrase_file).touch()
    click.echo(folder)


@command.command("rotate")
@click.argument("role", type=click.Choice([role.value for role in Role]))
@click.argument("old")
@click.argument("new")
@click.option("--product", default="", help="For the roles that every product has.")
@signing.repository
@signing.keys
def rotate(  # noqa: PLR0913, PLR0917 - an option each
    role: str,
    old: str,
    new: str,
    product: str,
    folder: Path,
    keys_folder: Path,
    passphrase_file: Path | None,
) -> None:
    """Replace the key OLD of a role by NEW, such as after a theft.

    \b
    hwc keys new timestamp-2
    hwc repo rotate timestamp timestamp-1 timestamp-2 --repo fleet/
    """  # noqa: D301 - click wants the escape
    _check_product(role, product)
    opened = signing.opened(folder, keys_folder, passphrase_file)
    lacking = opened.rotate(Role(role), old, new, product)
    click.echo(signing.waiting(lacking, folder, str(folder)))


@command.command("renew")
@click.argument("role", type=click.Choice([role.value for role in _RENEWED]))
@click.option("--product", default="", help="For the roles that every product has.")
@signing.repository
@signing.keys
def renew(
    role: str, product: str, folder: Path, keys_folder: Path, passphrase_file: Path | None
) -> None:
    """Sign a role for another term: root and targets last a year, bundles half of one.

    \b
    hwc repo renew bundles --product doorbell --repo fleet/
    """  # noqa: D301 - click wants the escape
    _check_product(role, product)
    lacking = signing.opened(folder, keys_folder, passphrase_file).renew(Role(role), product)
    click.echo(signing.waiting(lacking, folder, str(folder)))


@command.command("export")
@click.argument("target", type=click.Path(path_type=Path))
@signing.repository
def export(target: Path, folder: Path) -> None:
    """Copy what a server would serve to TARGET, for devices that no network reaches."""
    signing.opened(folder, Path("keys"), None).export(target)
    click.echo(target)


@command.command("rollout")
@click.argument("product")
@click.option(
    "--share",
    type=click.FloatRange(0, _PERCENT),
    help="Percent of the fleet that are to have the newest release.",
)
@click.option("--halt/--go-on", "halted", default=None, help="Let nobody begin, or again.")
@signing.repository
@signing.keys
def rollout(  # noqa: PLR0913 - an option each
    product: str,
    *,
    share: float | None,
    halted: bool | None,
    folder: Path,
    keys_folder: Path,
    passphrase_file: Path | None,
) -> None:
    """Say which share of the devices is to have the newest release of PRODUCT.

    \b
    hwc repo rollout doorbell --repo fleet/ --share 5
    hwc repo rollout doorbell --repo fleet/ --halt
    """  # noqa: D301 - click wants the escape
    opened = signing.opened(folder, keys_folder, passphrase_file)
    before, releases = opened.rollout(product), opened.releases(product)
    newest = releases[-1].digest if releases else ""
    now = Rollout(
        newest,
        before.share if share is None else round(share / _PERCENT * WHOLE),
        before.salt if before.release == newest and before.salt else newest[:16],
        before.halted if halted is None else halted,
    )
    lacking = opened.set_rollout(product, now)
    text = "halted" if now.halted else f"{now.share / WHOLE:.2%} of the fleet"
    click.echo(signing.waiting(lacking, folder, f"{product}: {text}"))


@command.command("show")
@signing.repository
def show(folder: Path) -> None:
    """List what is published."""
    opened = signing.opened(folder, Path("keys"), None)
    rows = []
    for product in opened.products():
        artefacts = opened.artefacts(product)
        for release in opened.releases(product):
            ways = [a for a in artefacts if f"/{release.seq}/" in a.path]
            files = ", ".join(f"{a.base[:8] or 'full'} {a.size / 1e6:.3g} MB" for a in ways)
            version = f"{release.version} (seq {release.seq}, epoch {release.sec_epoch})"
            rows.append((product, version, release.digest[:12], files))
    console().print(text_table(("product", "release", "digest", "update files"), rows))


def _check_product(role: str, product: str) -> None:
    if (Role(role) in PER_PRODUCT) != bool(product):
        raise click.UsageError(f"--product goes with {', '.join(PER_PRODUCT)}, and only with them.")
