"""`hwc devices`: the devices that hwc knows, and every figure of one with who says so."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from ..toolchain.device import (
    ALIASES,
    Confidence,
    DeviceProfile,
    Figure,
    load_profile,
    profile_names,
    resolve,
)
from . import options
from .render import console


@click.command("devices")
@click.argument("name", required=False)
@options.json_output
def devices(name: str | None, *, as_json: bool) -> None:
    """List the known devices, or show every figure of one.

    \b
    hwc devices
    hwc devices jetson_orin
    hwc devices my_board.yaml --json
    """  # noqa: D301 - click wants the escape
    if name is None:
        profiles = [load_profile(known) for known in profile_names()]
        _print_json(_list_json(profiles)) if as_json else _print_list(profiles)
        return
    resolved = resolve(name)
    if as_json:
        _print_json({"asked": resolved.asked, **_profile_json(resolved.profile)})
        return
    if resolved.note:
        console().print(resolved.note, markup=False)
    _print_profile(resolved.profile)


command = devices  # the name under which the command line finds a subcommand


def _list_json(profiles: Iterable[DeviceProfile]) -> dict[str, Any]:
    """All profiles and the short names."""
    return {"devices": [_profile_json(profile) for profile in profiles], "aliases": dict(ALIASES)}


def _profile_json(profile: DeviceProfile) -> dict[str, Any]:
    """One profile, its figures by name."""
    return {
        "name": profile.name,
        "title": profile.title,
        "backend": profile.backend,
        "target": profile.target,
        "units": profile.units,
        "opset_max": profile.opset_max,
        "precisions": [precision.value for precision in profile.precisions],
        "power_mode": profile.power_mode or None,
        "power_modes": list(profile.power_modes),
        "figures": {key: _figure_json(f, unit) for key, unit, f in profile.figures()},
    }


def _figure_json(figure: Figure, unit: str) -> dict[str, Any]:
    """One figure."""
    return {
        "value": figure.value,
        "unit": unit or None,
        "confidence": figure.confidence.value,
        "source": figure.source,
    }


def _print_json(body: Mapping[str, Any]) -> None:
    """JSON on stdout."""
    click.echo(json.dumps(body, indent=2, ensure_ascii=False))


def _print_list(profiles: Iterable[DeviceProfile]) -> None:
    """One row a device, then the short names."""
    table = Table(box=None, pad_edge=False)
    for head in ("name", "device", "backend", "precisions"):
        table.add_column(head, no_wrap=head == "name")
    for head in ("GB/s", "GiB"):
        table.add_column(head, justify="right")
    table.add_column("figures")
    for profile in profiles:
        table.add_row(
            profile.name,
            escape(profile.title),
            profile.backend,
            " ".join(profile.precisions),
            f"{profile.bandwidth.value:.4g}",
            f"{profile.memory.value:.3g}",
            _overall(profile).value,
        )
    out = console()
    out.print(table)
    out.print()
    for short, name in ALIASES.items():
        out.print(f"{short} is {name}", markup=False)
    out.print("A board of your own: --device my_board.yaml", markup=False)


def _print_profile(profile: DeviceProfile) -> None:
    """Every figure of one profile."""
    out = console()
    mode = f", power mode {profile.power_mode}" if profile.power_mode else ""
    out.print(f"{profile.name}: {profile.title}", markup=False)
    out.print(f"backend {profile.backend}, target {profile.target}{mode}", markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    for head in ("unit", "confidence", "source"):
        table.add_column(head)
    for key, unit, figure in profile.figures():
        row = (key, f"{figure.value:.6g}", unit, figure.confidence.value, escape(figure.source))
        table.add_row(*row)
    out.print(table)


def _overall(profile: DeviceProfile) -> Confidence:
    """The worst confidence among what decides a plan: the peaks and the bandwidth."""
    ranks = list(Confidence)
    figures = (*profile.peak.values(), profile.bandwidth)
    return max((figure.confidence for figure in figures), key=ranks.index)
