"""`hwc keys`: the keys that a repository is signed with."""

from pathlib import Path

import click

from ...toolchain.update.trust import oms
from ...toolchain.update.trust.keys import role_names
from ...toolchain.update.trust.roles import RULES, check_product
from ..render import console, text_table
from . import signing


@click.group("keys")
def command() -> None:
    """Make the keys of a fleet's repository.

    \b
    hwc keys new --product doorbell
    """  # noqa: D301 - click wants the escape


@command.command("new")
@click.argument("names", nargs=-1)
@click.option("--product", "products", multiple=True, help="All keys of a repository with this.")
@signing.keys
def new(
    names: tuple[str, ...],
    *,
    products: tuple[str, ...],
    keys_folder: Path,
    passphrase_file: Path | None,
) -> None:
    """Make keys: those named, such as `timestamp-2`, or with --product all that one needs.

    Each is encrypted with the passphrase. Move those marked offline to where no network reaches
    them, the three of root to three places: two of them are enough to replace any other key.

    \b
    hwc keys new --product doorbell --keys keys/
    hwc keys new timestamp-2
    """  # noqa: D301 - click wants the escape
    if not names and not products:
        raise click.UsageError("name the keys to make, or a --product.")
    for product in products:
        check_product(product)
    ring = signing.keyring(keys_folder, passphrase_file, new=True)
    for name in names:
        ring.create(name)
        click.echo(keys_folder / f"{name}.pem")
    if not products:
        return
    ring.create_all(products)
    rows = [
        (name, str(rule.keys), str(rule.threshold), "online" if rule.online else "offline")
        for name, role in role_names(products)
        for rule in [RULES[role]]
    ]
    console().print(text_table(("role", "keys", "must sign", "kept"), rows))
    click.echo(keys_folder)


@command.command("model")
@click.argument("name")
@signing.keys
def model(name: str, *, keys_folder: Path, passphrase_file: Path | None) -> None:
    """Make a P-256 key for `hwc publish --model-key` (OpenSSF model signing; extra `signing`).

    \b
    hwc keys model release
    """  # noqa: D301 - click wants the escape
    ring = signing.keyring(keys_folder, passphrase_file, new=True)
    private, public = keys_folder / f"{name}.pem", keys_folder / f"{name}.pub.pem"
    keys_folder.mkdir(parents=True, exist_ok=True)
    oms.create_key(private, public, ring.ask(str(private)))
    click.echo(private)
