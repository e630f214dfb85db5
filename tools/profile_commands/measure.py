"""`hwc profile MODEL...`: measures the kernels of models in place, on this machine or another."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...toolchain.errors import UsageError
from .. import options

if TYPE_CHECKING:
    from ...toolchain.progress import Progress
    from ..importing import Imported
    from ..measuring import Profiled, ProfileRequest


@click.command("measure")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--device", default="host", show_default=True, help="What to measure; with --on, its name."
)
@click.option("--on", "address", help="Measure there: ssh://[user@]host[:port][?python=PATH].")
@options.threads
@options.table
@click.option("--probes", type=click.IntRange(min=0), help="Mixed builds of each model. [10]")
@click.option(
    "--checks",
    type=click.IntRange(min=0),
    help="Plans of each model to predict and measure, so that the error is known. [3]",
)
@click.option(
    "--from-trtexec",
    "export",
    nargs=2,
    type=click.Path(path_type=Path),
    metavar="LAYERS PROFILE",
    help="Import what trtexec --exportLayerInfo and --exportProfile wrote of MODEL.",
)
@click.option("--precision", help="With --from-trtexec: what the engine was built in.")
@click.option("--runtime-version", default="unknown", help="With --from-trtexec: TensorRT's.")
@click.option("--power-mode", default="", help="One of the device's power modes.")
@click.option("--data", default="", help="Samples to calibrate on. [random numbers]")
@options.inputs
@options.remeasure
@options.quiet
@click.option("-v", "--verbose", is_flag=True, help="Say more while it runs.")
@options.json_output
def command(*, as_json: bool, quiet: bool, verbose: bool, **asked: Any) -> None:  # noqa: ANN401 - click's values
    """Measure every kernel of MODEL... in every choice, in place.

    A few whole builds of each model are timed in turns with the fp32 one: one in each precision,
    and mixed ones, which show what changes of form cost. Each build is in the table as soon as it
    is done: interrupted, the same command goes on where it was.

    \b
    hwc profile model.onnx
    hwc profile *.onnx --table lab.sqlite
    hwc profile model.onnx --on ssh://pi@board.local --device my_board
    hwc profile model.onnx --device jetson_orin --from-trtexec layers.json profile.json
    """  # noqa: D301 - click wants the escape
    from ..measuring import profile_models  # noqa: PLC0415 - onnx, onnxruntime
    from ..render import progress  # noqa: PLC0415 - rich

    of_export = {name: asked.pop(name) for name in ("export", "precision", "runtime_version")}
    request = _request(asked)
    with progress(quiet=quiet, verbose=verbose) as told:
        if of_export["export"]:
            _print_imported(_import(request, of_export, told), as_json=as_json)
            return
        done = list(profile_models(request, told))
    _print(done, as_json=as_json)


def _request(asked: dict[str, Any]) -> "ProfileRequest":
    from ..measuring import ProfileRequest  # noqa: PLC0415 - onnx, onnxruntime

    asked["inputs"] = dict(map(options.parse_shape, asked["inputs"]))
    return ProfileRequest(**{name: value for name, value in asked.items() if value is not None})


def _import(request: "ProfileRequest", asked: dict[str, Any], told: "Progress") -> "Imported":
    from ..importing import Export, import_trtexec  # noqa: PLC0415 - onnx

    if len(request.models) != 1 or request.address is not None:
        raise UsageError(
            "--from-trtexec imports one MODEL, and nothing from --on", "give one model alone"
        )
    precision = asked["precision"] and options.parse_precision(asked["precision"])
    layers, profile = asked["export"]
    what = Export(layers, profile, precision, asked["runtime_version"])
    return import_trtexec(request.of(request.models[0]), what, told)


def _print_imported(imported: "Imported", *, as_json: bool) -> None:
    from ...toolchain.codec import canonical  # noqa: PLC0415 - numpy
    from ..render import counts_text, time_text  # noqa: PLC0415 - rich

    if as_json:
        click.echo(canonical(imported))
        return
    ran = counts_text(imported.counts)
    click.echo(f"{imported.model}: {time_text(imported.total_us)}, {imported.slots} slots: {ran}")
    click.echo(imported.table)


def _print(done: Sequence["Profiled"], *, as_json: bool) -> None:
    from rich.markup import escape  # noqa: PLC0415 - rich
    from rich.table import Table  # noqa: PLC0415

    from ...toolchain.codec import canonical  # noqa: PLC0415 - numpy
    from ..render import console  # noqa: PLC0415

    if as_json:
        click.echo(canonical(done))
        return
    table = Table("model", "slots", "rows", "builds measured", "held already", "checked")
    for it in done:
        counts = it.slots, it.rows, it.builds, it.known
        off = "-" if it.error is None else f"{it.checked} plans, at most {it.error:.1%} off"
        table.add_row(escape(it.model), *map(str, counts), off)
    console().print(table)
    for note in dict.fromkeys(note for it in done for note in it.notes):
        console().print(escape(note), soft_wrap=True)
    for path in dict.fromkeys(it.table for it in done):
        console().print(escape(path), soft_wrap=True, style="bold")
