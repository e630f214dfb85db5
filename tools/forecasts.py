"""What `hwc estimate` prints: a row a plan, a table of kernels, or JSON."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from ..toolchain.device import Confidence, DeviceProfile
from ..toolchain.latency.energy import Energy
from ..toolchain.latency.forecast import Forecast, Kernel
from .question import Answer, Outlook
from .render import console, counts_text, size_text, time_text

_GIB = 2**30
_HEADS = ("precision", "kernels", "latency", "energy", "memory", "source")


def print_answer(answer: Answer, *, as_json: bool, verbose: bool) -> None:
    """Print what is predicted; `verbose` adds the kernels of each plan."""
    if as_json:
        body = _answer_json(answer, verbose=verbose)
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    out = console()
    out.print(plan_table(answer))
    if verbose:
        for outlook in answer.outlooks:
            for plan in outlook.forecasts:
                out.print(kernel_table(outlook, plan))
        out.print("bound by: estimated, whatever the source of the time")
    for line in _remarks(answer):
        out.print(escape(line), soft_wrap=True)


def plan_table(answer: Answer) -> Table:
    """One row a plan; a column for the device where there are several."""
    shapes = (f"{name} {_shape_text(shape)}" for name, shape in answer.shapes.items())
    sparse = ["2:4 sparse"] if answer.question.sparse else []
    title = ", ".join([Path(answer.question.model).name, *shapes, *sparse])
    several = len(answer.outlooks) > 1
    if not several:
        title += f", on {_device_text(answer.outlooks[0].profile)}"
    table = Table(title=escape(title))
    for head in (*(["device"] if several else []), *_HEADS):
        table.add_column(head)
    for outlook in answer.outlooks:
        for index, plan in enumerate(outlook.forecasts):
            device = "" if index else _device_text(outlook.profile)
            cells = (*([device] if several else []), *_cells(outlook, plan))
            table.add_row(*(escape(cell) for cell in cells))
    return table


def kernel_table(outlook: Outlook, plan: Forecast) -> Table:
    """One row a kernel, and one for what lies between them."""
    table = Table(title=escape(f"{plan.plan} on {_device_text(outlook.profile)}"))
    for head in ("node", "op", "runs in", "time", "bound by", "source"):
        table.add_column(head, justify="right" if head == "time" else "left")
    for kernel in plan.kernels:
        cells = (
            kernel.slot,
            kernel.op,
            kernel.precision,
            time_text(kernel.us),
            kernel.bound or "-",
        )
        table.add_row(*(escape(cell) for cell in cells), kernel.origin)
    if plan.conversions:
        name = f"{plan.conversions} conversions"
        table.add_row(name, "", "", time_text(plan.conversions_us), "", plan.origin)
    if plan.fixed_us:
        table.add_row("beside the kernels", "", "", time_text(plan.fixed_us), "", plan.origin)
    return table


def _shape_text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _device_text(profile: DeviceProfile) -> str:
    return f"{profile.name} {profile.power_mode}".strip()


def _cells(outlook: Outlook, plan: Forecast) -> tuple[str, ...]:
    latency = plan.latency
    spread = f"{time_text(latency.us)} ({time_text(latency.low)} to {time_text(latency.high)})"
    too_much = "" if _fits(outlook, plan) else ": does not fit"
    memory = f"{size_text(plan.memory.total)}{too_much}"
    sparse = sum(kernel.sparse for kernel in plan.kernels)
    counts = counts_text(plan.precisions) + (f"; 2:4 {sparse}" if sparse else "")
    return plan.plan, counts, spread, _energy_text(plan.energy), memory, _origin_text(plan)


def _energy_text(energy: Energy | None) -> str:
    """Millijoules with their range."""
    if energy is None:
        return "not known"
    value, low, high = (f"{1e3 * j:.3g}" for j in (energy.joules, energy.low, energy.high))
    return f"{value} mJ ({low} to {high})"


def _origin_text(plan: Forecast) -> str:
    """Where the latency comes from; how many kernels, where they differ."""
    return counts_text(plan.origins) if len(plan.origins) > 1 else plan.origin.value


def _fits(outlook: Outlook, plan: Forecast) -> bool:
    return plan.memory.total <= outlook.profile.memory.value * _GIB


def _remarks(answer: Answer) -> Iterator[str]:
    """Short names, what does not run and why, where figures come from."""
    for outlook in answer.outlooks:
        if outlook.note:
            yield outlook.note
    yield from _lacking(answer.outlooks)
    for name, why in answer.failed.items():
        yield f"{name}: {why}"
    if len(answer.outlooks) == 1:
        outlook = answer.outlooks[0]
        yield from dict.fromkeys(f"{plan.origin}: {plan.source}" for plan in outlook.forecasts)
        yield f"energy: {_power_source(outlook.profile)}"
    else:
        yield "who says so, and how wrong it was: --device NAME, or --json; energy is estimated"
    yield "memory: weights and activations, estimated; the runtime's own needs come on top"
    yield from answer.notes


def _power_source(profile: DeviceProfile) -> str:
    """Who says what a device draws."""
    if profile.power is None:
        return f"not known: profile {profile.name} says nothing about power"
    figures = (profile.power.idle_watts, *profile.power.pj_per_op.values())
    sources = dict.fromkeys(figure.source for figure in (*figures, profile.power.pj_per_byte))
    worst = max((figure.confidence for figure in figures), key=list(Confidence).index)
    model = f"power model of profile {profile.name}, confidence {worst}"
    return f"estimated: {model}: {'; '.join(sources)}"


def _lacking(outlooks: Sequence[Outlook]) -> Iterator[str]:
    """The plans that do not run, those with the same reason on the same devices in one line."""
    devices: dict[tuple[str, str], list[str]] = {}
    for outlook in outlooks:
        for plan, why in outlook.refused.items():
            devices.setdefault((plan, why), []).append(outlook.profile.name)
    plans: dict[tuple[str, str], list[str]] = {}
    for (plan, why), names in devices.items():
        plans.setdefault((", ".join(names), why), []).append(plan)
    for (where, why), lacking in plans.items():
        yield f"no {', '.join(lacking)} on {where}: {why}"


def _source(profile: DeviceProfile) -> Iterator[str]:
    """Where a device's estimates, and their error, come from."""
    error = profile.error.low.source if profile.error else "the error is not known"
    yield f"estimated: profile {profile.name}; {error}"


def _answer_json(answer: Answer, *, verbose: bool) -> dict[str, Any]:
    return {
        "model": answer.question.model,
        "inputs": {name: list(shape) for name, shape in answer.shapes.items()},
        "sparsity": "2:4" if answer.question.sparse else None,
        "devices": [_outlook_json(outlook, verbose=verbose) for outlook in answer.outlooks],
        "failed": dict(answer.failed),
        "notes": list(answer.notes),
    }


def _outlook_json(outlook: Outlook, *, verbose: bool) -> dict[str, Any]:
    profile = outlook.profile
    return {
        "device": profile.name,
        "title": profile.title,
        "power_mode": profile.power_mode or None,
        "plans": [_plan_json(outlook, plan, verbose=verbose) for plan in outlook.forecasts],
        "refused": dict(outlook.refused),
    }


def _plan_json(outlook: Outlook, plan: Forecast, *, verbose: bool) -> dict[str, Any]:
    latency, energy, memory = plan.latency, plan.energy, plan.memory
    body = {
        "precision": plan.plan,
        "kernels_by_precision": dict(plan.precisions),
        "kernels_by_origin": dict(plan.origins),
        "latency": {
            "value": latency.us,
            "low": latency.low,
            "high": latency.high,
            "unit": "us",
            "origin": plan.origin.value,
            "source": plan.source,
        },
        "energy": energy
        and {
            "value": energy.joules,
            "low": energy.low,
            "high": energy.high,
            "unit": "J",
            "origin": "estimated",
            "source": _power_source(outlook.profile).removeprefix("estimated: "),
        },
        "memory": {
            "value": memory.total,
            "weights": memory.weights,
            "activations": memory.activations,
            "peak_at": memory.at,
            "unit": "B",
            "origin": "estimated",
            "device": round(outlook.profile.memory.value * _GIB),
            "fits": _fits(outlook, plan),
        },
        "conversions": {
            "count": plan.conversions,
            "value": plan.conversions_us,
            "unit": "us",
        },
        "fixed": {"value": plan.fixed_us, "unit": "us"},
    }
    return body | ({"kernels": list(map(_kernel_json, plan.kernels))} if verbose else {})


def _kernel_json(kernel: Kernel) -> dict[str, Any]:
    return {
        "node": kernel.slot,
        "op": kernel.op,
        "precision": kernel.precision.value,
        "sparsity": "2:4" if kernel.sparse else None,
        "value": kernel.us,
        "unit": "us",
        "origin": kernel.origin.value,
        "bound": kernel.bound,
    }
