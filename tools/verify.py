"""`hwc verify`: whether a bundle still keeps what its report promised."""

from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from ..toolchain.bundle import Bundle
from ..toolchain.codec import canonical
from ..toolchain.errors import ConstraintError
from . import options
from .backends import open_backend
from .render import console
from .verification import Request, Verification, verify_bundle


@click.command()
@options.bundle
@options.original
@click.option("--data", help="Compare on this data too: an npz, a folder or module:function.")
@options.threads
@options.json_output
def command(
    bundle: Path, original: Path | None, data: str | None, threads: int, *, as_json: bool
) -> None:
    """Check a bundle's bytes, run it against the original, and time the two in turns.

    Where the original is neither given nor at its recorded path, the golden inputs in the bundle
    stand for it and the latency is owed. Exit code 8: bytes changed; 6: a promise is broken.

    \b
    hwc verify effnet.hwc
    hwc verify effnet.hwc --original models/effnet.onnx --data calib.npz
    """  # noqa: D301 - click wants the escape
    with Bundle.open(bundle) as opened:
        backend = open_backend(opened.manifest.backend)
        result = verify_bundle(opened, backend, Request(original, data, threads))
    if as_json:
        click.echo(canonical(result))
    else:
        console().print(_table(bundle, result))
    if result.failed:
        check = result.failed[0]
        raise ConstraintError(
            f"{bundle}: {check.name}: {check.detail}", "compile it again for this machine"
        )


def _table(bundle: Path, result: Verification) -> Table:
    table = Table("check", "result", "", title=escape(str(bundle)))
    for check in result.checks:
        table.add_row(escape(check.name), check.status.value, escape(check.detail))
    return table
