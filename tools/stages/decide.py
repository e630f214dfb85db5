"""Stage 2: the decisions to be made, what they cost in time, and how to write them down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from ...backends import ort
from ...passes.apply import PlanWriter
from ...toolchain.accuracy.perturbation import Activations
from ...toolchain.accuracy.samples import each
from ...toolchain.calibration import Histogram, collect, ranges
from ...toolchain.device import DeviceProfile
from ...toolchain.dialect import Dialect
from ...toolchain.engine import TimedBuild
from ...toolchain.find_slots import find_slots, merge_slots, withdraw
from ...toolchain.latency.attribute import own_kernels
from ...toolchain.latency.cost import CostModel
from ...toolchain.latency.prices import Prices, Tables, from_profile
from ...toolchain.latency.table import default_path
from ...toolchain.latency.timing import Setting
from ...toolchain.observe import annotate, observer
from ...toolchain.plan import Plan, Precision
from ...toolchain.progress import Progress
from ...toolchain.slots import SlotGraph
from ...toolchain.storage.formats import Format
from ..request import Method, Request
from . import price
from .prepare import Prepared
from .price import THREADS, Meter
from .target import Target

NEED_DATA = frozenset({Precision.INT8, Precision.INT4})  # calibration, or a loss to be judged


@dataclass(frozen=True, slots=True)
class PlanSpace:
    """What may be chosen, and how to write a choice down.

    Attributes:
        slots: The slots.
        writer: Writes a plan for the device.
        simulator: Writes a plan so that this machine's CPU computes what the device would.
        activations: What calibration says of the tensors.
        notes: What the user should know.
    """

    slots: SlotGraph
    writer: PlanWriter
    simulator: PlanWriter
    activations: Activations
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decisions:
    """What there is to decide.

    Attributes:
        profile: The device.
        slots: The slots.
        cost: What plans take.
        source: Who says so.
        writer: Writes a plan for the device.
        simulator: Writes a plan so that this machine's CPU computes what the device would.
        activations: What calibration says of the tensors.
        meter: Measures builds on the device; None where it is not here.
        fresh: Whether the times are of now: nothing is gained by measuring them again.
        notes: What the user should know.
    """

    profile: DeviceProfile
    slots: SlotGraph
    cost: CostModel
    source: str
    writer: PlanWriter
    simulator: PlanWriter
    activations: Activations
    meter: Meter | None
    fresh: bool
    notes: tuple[str, ...]

    def simulate(self, plan: Plan, threads: int) -> ort.Session:
        """A runner that computes what the device would under a plan, on this machine's CPU."""
        own = self.simulator.dialect.name == ort.Ort.name
        return ort.Session(self.simulator.write(plan), ort.Options(threads, integers=own))


def reference(model: ir.Model) -> ort.Session:
    """The model as it is written, computed with the runtime's optimiser off."""
    return ort.Session(model, ort.Options(optimise=False))


def decide(request: Request, target: Target, prepared: Prepared, progress: Progress) -> Decisions:
    """Find the slots, calibrate what may be quantised, and price every choice."""
    space = find_space(request, target, prepared, progress)
    meter = find_meter(request, target, prepared, space.writer)
    if meter is not None:
        cost, fresh = meter.cost(progress, again=request.remeasure)
        source = f"kernels and boundaries measured on {meter.setting}"
    else:
        prices = prices_elsewhere(request, target, space.slots)
        cost, source, fresh = prices.cost, prices.source, True
    return Decisions(
        profile=target.profile,
        slots=space.slots,
        cost=cost,
        source=source,
        writer=space.writer,
        simulator=space.simulator,
        activations=space.activations,
        meter=meter,
        fresh=fresh,
        notes=space.notes,
    )


def prices_elsewhere(request: Request, target: Target, slots: SlotGraph) -> Prices:
    """Tables that were measured on the device elsewhere, and its profile where there are none."""
    estimated = from_profile(slots, target.profile)
    if target.here:  # nothing is to be chosen, or its runtime shows no kernels: no table, either
        return estimated
    return Tables(target.profile, target.dialect, request.table).prices(slots) or estimated


def find_space(
    request: Request, target: Target, prepared: Prepared, progress: Progress
) -> PlanSpace:
    """Find the slots, and calibrate what may be quantised."""
    precisions, notes = _precisions(request, target, prepared)
    sparse = Method.SPARSITY in request.methods
    with progress.stage("find the decisions"):
        slots = offered(target, prepared, precisions, sparse=sparse, storage=request.formats)
    unsigned = target.dialect.unsigned_activations
    histograms = _calibrate(prepared, slots, progress)
    limits = ranges(histograms, request.calibration, unsigned=unsigned)
    activations = Activations.of(histograms, limits, unsigned=unsigned)
    infinite = {tensor for slot in slots.slots for tensor in slot.tensors} - set(limits)
    slots = withdraw(slots, Precision.INT8, infinite)
    writer = PlanWriter(prepared.model, slots, dialect=target.dialect, ranges=limits)
    simulator = PlanWriter(prepared.model, slots, dialect=simulated(target), ranges=limits)
    return PlanSpace(slots, writer, simulator, activations, notes)


def offered(
    target: Target,
    prepared: Prepared,
    precisions: Sequence[Precision],
    *,
    sparse: bool = False,
    storage: Sequence[Format] = (),
) -> SlotGraph:
    """The slots of a model, as its runtime makes kernels of them, with what may be chosen."""
    seen = annotate(prepared.model, reference, prepared.feeds)
    slots = find_slots(seen, target.dialect, precisions, sparse=sparse, storage=storage)
    if target.runtime is None or not _to_choose(slots):
        return slots
    ran = target.runtime.running_graph(prepared.model, prepared.feeds)
    return merge_slots(slots, own_kernels(ran, slots))


def simulated(target: Target) -> Dialect:
    """How a plan is written so that this machine's CPU computes what the device would."""
    emulated = frozenset({Precision.BF16})  # which no CPU kernel computes in
    return replace(target.dialect, qdq=True, casts=True, emulated=emulated)


def _precisions(
    request: Request, target: Target, prepared: Prepared
) -> tuple[tuple[Precision, ...], tuple[str, ...]]:
    """What may be chosen: what runs on the device, what was asked for, what the data allows."""
    asked = request.precisions or tuple(Precision)
    runs = target.profile.precisions
    allowed = tuple(p for p in Precision if p in asked and p in runs)
    if prepared.real:
        return allowed, ()
    if request.random_calibration:
        return allowed, ("calibrated and judged on random numbers: the accuracy is not known",)
    kept = tuple(p for p in allowed if p not in NEED_DATA)
    left_out = ", ".join(p for p in allowed if p in NEED_DATA)
    return kept, (
        f"no data: {left_out} not offered (give --data, or --allow-random-calibration)",
        "agreement was measured on random inputs",
    ) if left_out else ("agreement was measured on random inputs",)


def _calibrate(prepared: Prepared, slots: SlotGraph, progress: Progress) -> Mapping[str, Histogram]:
    """How the numbers of every tensor are spread that an int8 slot may read or write."""
    tensors = sorted(
        {
            tensor
            for slot in slots.slots
            if any(choice.precision is Precision.INT8 for choice in slot.choices)
            for tensor in slot.tensors
        }
    )
    if not tensors:
        return {}
    return collect(
        observer(prepared.model, tensors, reference),
        lambda: (sample.feeds for sample in each(prepared.splits.calibrate)),
        tensors=tensors,
        progress=progress,
    )


def find_meter(
    request: Request, target: Target, prepared: Prepared, writer: PlanWriter, threads: int = THREADS
) -> Meter | None:
    """What measures builds of the model; None where nothing can, or nothing is to be chosen."""
    if target.runtime is None or not _to_choose(writer.slots):
        return None
    profile, runtime = target.profile, target.runtime
    setting = Setting(profile.name, "onnxruntime", runtime.version, threads, profile.power_mode)
    path = request.table or default_path(setting)

    def time_builds(models: Sequence[ir.Model]) -> list[TimedBuild]:
        builds = runtime.time_builds(models, prepared.feeds, runs=price.RUNS, threads=threads)
        return builds if threads == 1 else list(map(_by_wall, builds))

    return Meter(path, setting, _absolute(request.model), writer, time_builds)


def _by_wall(build: TimedBuild) -> TimedBuild:
    """The build by wall time: threads that wait for each other count as CPU time, too."""
    return build if build.wall_us is None else replace(build, total_us=build.wall_us)


def _absolute(model: str) -> str:
    """Where a model lies, for a table that is read from other folders, too."""
    return str(Path(model).absolute()) if Path(model).is_file() else model


def _to_choose(slots: SlotGraph) -> bool:
    return any(len(slot.choices) > 1 for slot in slots.slots)


def plan_fp32(slots: SlotGraph) -> Plan:
    """The plan that changes nothing."""
    return Plan.of((slot.name, slot.choices[0]) for slot in slots.slots)
