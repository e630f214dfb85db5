"""What commands that sign have in common: the folder of keys, and where its passphrase is."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ...toolchain.errors import InputError
from ...toolchain.update.trust.keys import Keyring
from ...toolchain.update.trust.repository import Repository

VARIABLE = "HWC_PASSPHRASE"

repository = click.option(
    "--repo",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="The repository's folder, which a web server serves.",
)


def keys(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `--keys` and `--passphrase-file` to a command."""
    for option in (
        click.option(
            "--passphrase-file",
            type=click.Path(path_type=Path),
            help=f"Its first line opens the keys; without it {VARIABLE}, or the terminal is asked.",
        ),
        click.option(
            "--keys",
            "keys_folder",
            type=click.Path(path_type=Path),
            default=Path("keys"),
            show_default=True,
            help="The folder of keys; only those that are there sign.",
        ),
    ):
        function = option(function)
    return function


def keyring(folder: Path, passphrase_file: Path | None, *, new: bool = False) -> Keyring:
    """The keys of a folder, opened with one passphrase that is asked for once."""
    known: list[str] = []

    def ask(key: str) -> str:
        if not known:
            known.append(_passphrase(key, passphrase_file, new=new))
        return known[0]

    return Keyring(folder, ask)


def opened(folder: Path, keys_folder: Path, passphrase_file: Path | None) -> Repository:
    """A repository that can be signed."""
    return Repository.at(folder, keyring(keys_folder, passphrase_file))


def waiting(lacking: tuple[str, ...], folder: Path, done: str) -> str:
    """What a command says at its end: done, or who still has to sign."""
    if not lacking:
        return done
    return (
        f"not published yet: {', '.join(lacking)} needs more signatures; whoever has other keys "
        f"goes on with: hwc repo sign --repo {folder} --keys KEYS"
    )


def _passphrase(key: str, path: Path | None, *, new: bool) -> str:
    if path is not None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as cause:
            raise InputError(f"{path}: cannot be read", "name a text file") from cause
        return lines[0] if lines else ""
    if VARIABLE in os.environ:
        return os.environ[VARIABLE]
    text: str = click.prompt(
        f"Passphrase of {key}", hide_input=True, confirmation_prompt=new, err=True
    )
    return text
