"""Stage 6: the report, and the bundle on disk."""

import platform
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ... import __version__
from ...backends import ort
from ...backends.ort_options import options_text
from ...toolchain.bundle import (
    GOLDEN,
    MODEL,
    PACKED,
    PLAN,
    REPORT,
    Manifest,
    Source,
    seal,
    write_golden,
)
from ...toolchain.frontend.external import data_files
from ...toolchain.latency.cost import Breakdown
from ...toolchain.latency.measure import Measurement
from ...toolchain.origin import Origin
from ...toolchain.plan import NodeChoice, Plan, Precision
from ...toolchain.report import Latency, Measured, Report, SlotRow, StructureRow
from ...toolchain.search.problem import Problem
from ...toolchain.slots import Slot, SlotGraph
from ...toolchain.timing import Clock
from ..request import Request
from .decide import plan_fp32
from .gate import Delivery, Gate
from .package import model_size, weight_bytes
from .target import Target

_NOTEWORTHY = 0.02  # a change of the machine's speed that is worth a word
_MATRIX_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def sources(request: Request) -> tuple[Source, ...]:
    """What the bundle is made from, with digests where there are files."""
    path = Path(request.model)
    if not path.is_file():
        return (Source("model", request.model),)
    return (Source.of_file(path), *(Source.of_file(file, "data") for file in data_files(path)))


def manifest(gate: Gate, delivery: Delivery, made_from: tuple[Source, ...]) -> Manifest:
    """What the bundle says of itself."""
    target, backend = gate.target, gate.target.backend
    versions = {
        "hwc": __version__,
        "python": platform.python_version(),
        "onnx": version("onnx"),
        backend.name: backend.version() or "not installed",
    }
    return Manifest(
        backend=backend.name,
        profile=target.profile,
        engine=delivery.engine,
        build_commands=_build_commands(gate),
        versions=versions,
        sources=made_from,
        checks=delivery.checks,
        original_options=options_text(gate.original),
    )


def _build_commands(gate: Gate) -> tuple[str, ...]:
    """The backend's own; of a packed graph, the one that rebuilds it first."""
    target = gate.target
    own = target.backend.build_commands(gate.folder / MODEL, target.profile)
    return ("hwc build .",) if own and (gate.folder / PACKED).exists() else own


def write(folder: Path, report: Report, gate: Gate, delivery: Delivery, about: Manifest) -> None:
    """Write what is not yet in the bundle's folder, the manifest last."""
    plan = delivery.plan or plan_fp32(gate.decisions.slots)
    plan = with_structure(plan, report.structure)
    (folder / PLAN).write_text(plan.to_json(), encoding="utf-8")
    (folder / REPORT).write_text(report.to_json(), encoding="utf-8")
    write_golden(folder / GOLDEN, gate.golden())
    seal(folder, about)


def with_structure(plan: Plan, rows: tuple[StructureRow, ...]) -> Plan:
    """A plan with what is left of each node that was cut, also of those without a slot any more."""
    choices = plan.as_dict()
    for row in rows:
        choice = choices.get(row.node, NodeChoice())
        choices[row.node] = replace(choice, keep=row.keep, rank=row.rank, factors=row.factors)
    return Plan.of(choices)


def make_report(
    gate: Gate, problem: Problem, delivery: Delivery, made_from: tuple[Source, ...]
) -> Report:
    """Everything that was found out."""
    target, slots = gate.target, gate.decisions.slots
    plan = delivery.plan or plan_fp32(slots)
    breakdown = problem.cost.explain(np.array(problem.indices(plan), np.intp))
    seen = _in_place(gate, delivery)
    before, after = _latencies(gate, problem, delivery, breakdown)
    return Report(
        model=made_from[0].given,
        device=target.profile.name,
        backend=f"{target.backend.name} {target.backend.version() or '(not installed)'}",
        original=Measured(
            sum(source.size for source in made_from) or weight_bytes(gate.prepared.original),
            before,
            delivery.quality.original,
            node_counts(slots, plan_fp32(slots)),
        ),
        compiled=Measured(
            model_size(gate.folder),
            after,
            delivery.quality.compiled,
            node_counts(slots, plan),
        ),
        predicted=_predicted(gate, breakdown, after, seen) if delivery.cpu else None,
        speedup=delivery.cpu.ratio[Clock.CPU] if delivery.cpu else None,
        drop=delivery.quality.drop.interval,
        golden=delivery.numbers,
        kernels=_kernels(gate, plan),
        boundaries=len(breakdown.boundaries) if delivery.plan else 0,
        slots=_rows(problem, plan, seen),
        attempts=delivery.attempts,
        checks=delivery.checks,
    )


def _latencies(
    gate: Gate, problem: Problem, delivery: Delivery, breakdown: Breakdown
) -> tuple[Latency, Latency]:
    """Original and compiled: measured where the device is here, else as they are priced."""
    if delivery.cpu is None:
        source = gate.decisions.source
        plain = np.zeros((1, len(problem.graph.slots)), np.intp)
        original = float(problem.cost.price(plain)[0])
        return (
            Latency(original, Origin.ESTIMATED, source),
            Latency(breakdown.total_us, Origin.ESTIMATED, source),
        )
    source = _measured_by(gate.target)
    paired, runs = delivery.cpu, delivery.cpu.runs
    return (
        Latency.measured(paired.a[Clock.CPU], runs, Clock.CPU, source),
        Latency.measured(paired.b[Clock.CPU], runs, Clock.CPU, source),
    )


def _measured_by(target: Target) -> str:
    today = datetime.now(UTC).date().isoformat()
    runtime = f"{target.backend.name} {target.backend.version()}"
    return f"{target.profile.target}, {runtime}, 1 thread, {today}"


def _predicted(
    gate: Gate, breakdown: Breakdown, measured: Latency, seen: Measurement | None
) -> Latency:
    """What the table says about the delivered plan, and how far off it was.

    Kernels are timed in turns with the fp32 build: how fast the machine is now beside when the
    table was measured is known, and is not the table's error.
    """
    scale = seen.scale if seen else 1.0
    us = breakdown.total_us / scale
    source = gate.decisions.source
    if abs(scale - 1.0) > _NOTEWORTHY:
        source += f"; the machine now runs at {scale:.2f} of the speed that it had then"
    residual = us / measured.us - 1.0
    return Latency(us, Origin.ESTIMATED, source, Clock.CPU, residual=residual)


def _kernels(gate: Gate, plan: Plan) -> dict[str, int]:
    """How many int8 matrix kernels the plan asks for, and how many the runtime really runs."""
    chosen = plan.as_dict()
    asked = sum(
        slot.op in _MATRIX_OPS and chosen[slot.name].precision is Precision.INT8
        for slot in gate.decisions.slots.slots
    )
    if not (gate.target.here and asked):
        return {"int8 asked": asked} if asked else {}
    return {"int8 asked": asked, "int8 fused": ort.integer_kernels(gate.folder / MODEL)}


def _in_place(gate: Gate, delivery: Delivery) -> Measurement | None:
    """The delivered engine kernel by kernel, where that can be seen."""
    if gate.decisions.meter is None or delivery.plan is None:
        return None
    return gate.decisions.meter.one(delivery.plan)


def _rows(problem: Problem, plan: Plan, seen: Measurement | None) -> tuple[SlotRow, ...]:
    chosen = plan.as_dict()
    rows = []
    known = problem.sensitivity is not None
    in_place = {time.slot: time.us.median for time in seen.slots} if seen else {}
    for row, slot in enumerate(problem.graph.slots):
        times = _figures(slot, problem.cost.node_us[row])
        losses = _figures(slot, problem.drops[row]) if known else {}
        choice = chosen[slot.name].kernel
        why = _why(choice, times, losses)
        us = in_place.get(row)
        rows.append(
            SlotRow(slot.name, slot.op, choice, why, times, losses, measured_us=us, kept=slot.kept)
        )
    return tuple(rows)


def node_counts(slots: SlotGraph, plan: Plan) -> dict[str, int]:
    """How many nodes run in each kind of kernel, such as `int8`."""
    chosen = plan.as_dict()
    counts: dict[str, int] = {}
    for slot in slots.slots:
        name = chosen[slot.name].kernel
        counts[name] = counts.get(name, 0) + len(slot.nodes)
    return counts


def _figures(slot: Slot, figures: npt.NDArray[np.float64]) -> dict[str, float]:
    """The finite figures of a slot's choices, by kernel; of equal kernels the first's."""
    found: dict[str, float] = {}
    for choice, figure in zip(slot.choices, figures, strict=False):
        if np.isfinite(figure):
            found.setdefault(choice.kernel, float(figure))
    return found


def _why(choice: str, times: dict[str, float], losses: dict[str, float]) -> str:
    """Why a slot runs in what it runs in, in the figures that decided."""
    others = {name: us for name, us in times.items() if name != choice}
    if not others:
        return "no other choice"
    fastest = min(others, key=lambda name: others[name])
    figures = f"{times[choice]:.1f} µs, {fastest} {others[fastest]:.1f} µs"
    if times[choice] <= others[fastest]:
        return f"fastest: {figures}"
    if losses.get(fastest, 0.0) > losses.get(choice, 0.0):
        return f"for accuracy: {fastest} loses {losses[fastest]:.2g} ({figures})"
    return f"a change of form would cost more than it gains ({figures})"
