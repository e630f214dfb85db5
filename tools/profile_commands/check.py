"""`hwc profile check`: whether a table still holds on this machine."""

from typing import TYPE_CHECKING

import click

from .. import options

if TYPE_CHECKING:
    from ..checking import Checked


@click.command("check")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--device", default="host", show_default=True, help="What was measured; with --on, its name."
)
@click.option("--on", "address", help="Check there: ssh://[user@]host[:port][?python=PATH].")
@options.threads
@options.table
@click.option(
    "--builds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Builds of each model to measure again.",
)
@click.option("--data", default="", help="Samples to calibrate on. [random numbers]")
@options.inputs
@options.quiet
@options.json_output
def command(
    *, builds: int, inputs: tuple[str, ...], as_json: bool, quiet: bool, **asked: object
) -> None:
    """Measure a sample of a table's rows again, and say whether the table still holds.

    Without MODEL, the models are taken that the table remembers. The table does not change. Ends
    with 9 where the table no longer holds: clocks, load, driver or runtime are not what they were.

    \b
    hwc profile check
    hwc profile check model.onnx --table lab.sqlite
    """  # noqa: D301 - click wants the escape
    from ...toolchain.codec import canonical  # noqa: PLC0415 - numpy
    from ..checking import check_models, require_holding  # noqa: PLC0415 - onnx, onnxruntime
    from ..measuring import ProfileRequest  # noqa: PLC0415
    from ..render import progress  # noqa: PLC0415 - rich

    given = {name: value for name, value in asked.items() if value is not None}
    given["inputs"] = dict(map(options.parse_shape, inputs))
    with progress(quiet=quiet) as told:
        done = list(check_models(ProfileRequest(**given), told, builds))  # type: ignore[arg-type] # click checked them
    if as_json:
        click.echo(canonical(done))
    else:
        for it in done:
            _print(it)
    require_holding(done)


def _print(it: "Checked") -> None:
    click.echo(f"{it.model}: {it.drift.verdict} ({it.drift.rows} rows of {it.drift.builds} builds)")
    for key, choice, ratio in it.drift.worst[:5]:
        click.echo(f"  {ratio:5.2f}x  {choice}  {key}")
