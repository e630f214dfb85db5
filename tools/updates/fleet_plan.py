"""`hwc fleet plan`: what each device is sent, which deltas are worth making, how it will go."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click
from rich.markup import escape

from ...toolchain.codec import canonical
from ...toolchain.errors import OutputError, UsageError
from ...toolchain.output import atomic_output, check_target
from ...toolchain.update.fleet.forecast import Forecast, forecast
from ...toolchain.update.fleet.inventory import Device, read_inventory
from ...toolchain.update.fleet.matrix import Hop, Matrix, Rates, delta_matrix
from ...toolchain.update.fleet.paths import Prices
from ...toolchain.update.fleet.planner import FleetPlan, plan_fleet
from .. import options
from ..render import console
from .catalogue import read_catalogue
from .fleet_table import forecast_lines, make_table, plan_table, summary

_PRICES = Prices()
_PERCENT = 100.0


@dataclass(frozen=True, slots=True)
class Report:
    """What `--json` prints for each product.

    Attributes:
        matrix: The update files that are there or could be made.
        plan: What is chosen of them.
        forecast: Of the rollout; None where nothing is to be sent.
    """

    matrix: Matrix
    plan: FleetPlan
    forecast: Forecast | None


@dataclass(frozen=True, slots=True)
class Reports:
    """All products of an inventory."""

    products: tuple[Report, ...]


@click.command("plan")
@click.argument("inventory", type=click.Path(path_type=Path))
@click.option("--repo", required=True, type=click.Path(path_type=Path), help="The repository.")
@click.option("--product", default="", help="Only devices of this one.")
@click.option(
    "--egress-price",
    type=click.FloatRange(min=0),
    default=_PRICES.egress,
    show_default=True,
    help="Of a MB that leaves the server, in the inventory's currency.",
)
@click.option(
    "--cpu-price",
    type=click.FloatRange(min=0),
    default=_PRICES.cpu,
    show_default=True,
    help="Of an hour of one processor.",
)
@click.option(
    "--tolerated",
    type=click.FloatRange(min=0, max=50, min_open=True),
    default=0.5,
    show_default=True,
    help="Percent of the devices on which a release may fail.",
)
@click.option("--chains", is_flag=True, help="Also through releases in between, as agents go.")
@options.seed
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Draw it, as PNG.")
@options.force
@options.json_output
def command(  # noqa: PLR0913 - an option each
    inventory: Path,
    *,
    repo: Path,
    product: str,
    egress_price: float,
    cpu_price: float,
    tolerated: float,
    chains: bool,
    seed: int,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Choose for every device the cheapest way to the newest release, and foretell the rollout.

    INVENTORY is CSV with the columns device, product, link (ethernet, wifi, lte, lte-m, satellite,
    depot, visit), seq or version, and where known mbit_per_s, price_per_mb, memory_mb and loss.
    Files that are not there are estimated (~) and have a star; times are simulated.

    \b
    hwc fleet plan inventory.csv --repo fleet/
    hwc fleet plan inventory.csv --repo fleet/ --product camera -o plan.png
    """  # noqa: D301 - click wants the escape
    if output is not None:
        _check_picture(output, force=force)
    fleets = _by_product(read_inventory(inventory), product)
    if output is not None and len(fleets) > 1:
        raise UsageError("-o draws one product", f"--product {next(iter(fleets))}")
    asked = _Asked(repo, Prices(egress_price, cpu_price), tolerated / _PERCENT, chains, seed)
    reports = Reports(tuple(_report(devices, asked) for devices in fleets.values()))
    if as_json:
        click.echo(canonical(reports))
    else:
        for report in reports.products:
            _print(report)
    if output is not None:
        _draw(reports.products[0], output, force=force)
        click.echo(output, err=as_json)


def _by_product(devices: Sequence[Device], product: str) -> dict[str, list[Device]]:
    fleets: dict[str, list[Device]] = {}
    for device in devices:
        if product in {"", device.product}:
            fleets.setdefault(device.product, []).append(device)
    if not fleets:
        known = ", ".join(sorted({device.product for device in devices}))
        raise UsageError(f"no device has the product {product!r}", f"there are {known}")
    return dict(sorted(fleets.items()))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the options say of every product."""

    repo: Path
    prices: Prices
    tolerated: float
    chains: bool
    seed: int


def _report(devices: Sequence[Device], asked: _Asked) -> Report:
    catalogue = read_catalogue(asked.repo, devices[0].product)
    matrix = delta_matrix(catalogue.offer, catalogue.releases, Rates())
    if not asked.chains:
        matrix = matrix.straight()
    plan = plan_fleet(matrix, devices, asked.prices)
    found = forecast(plan, devices, tolerated=asked.tolerated, seed=asked.seed)
    return Report(matrix, plan, found)


def _print(report: Report) -> None:
    out = console()
    plan, matrix = report.plan, report.matrix
    out.print(plan_table(plan, matrix))
    if plan.make:
        out.print(make_table(plan, matrix))
    lines = [
        summary(plan, _all_full(report)),
        *(forecast_lines(report.forecast) if report.forecast else ()),
    ]
    for line in lines:
        out.print(escape(line), soft_wrap=True)


def _all_full(report: Report) -> int | None:
    """Bytes if everyone who is sent anything were sent a full file."""
    full: list[Hop] = [
        hop for hop in report.matrix.hops if hop.base is None and hop.target == report.plan.newest
    ]
    count = sum(choice.devices for choice in report.plan.choices if choice.hops)
    return min(hop.size for hop in full) * count if full else None


def _check_picture(output: Path, *, force: bool) -> None:
    if find_spec("matplotlib") is None:
        raise OutputError(f"{output}: nothing draws it", "pip install 'hwc-compiler[plot]'")
    check_target(output, force=force)


def _draw(report: Report, output: Path, *, force: bool) -> None:
    from .fleet_picture import draw  # noqa: PLC0415 - matplotlib is only needed here

    with atomic_output(output, force=force) as stage:
        draw(report.plan, report.matrix, report.forecast, stage)
