"""Compiling with plan, scales and codebooks of an earlier bundle, so that an update is small."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from ...passes.apply import PlanWriter
from ...passes.base import Base
from ...toolchain.accuracy.evaluator import Reference, measure
from ...toolchain.accuracy.metrics import agreement
from ...toolchain.accuracy.perturbation import Activations
from ...toolchain.bundle import Bundle
from ...toolchain.errors import ConstraintError, InputError, UsageError
from ...toolchain.plan import NodeChoice, Plan, Precision, Sparsity
from ...toolchain.progress import Progress
from ...toolchain.report import Report
from ...toolchain.same_graph import first_difference
from ...toolchain.slots import SlotGraph
from ...toolchain.storage.formats import Format
from ..loaded import load_engine
from ..request import Request
from .compilation import Compilation
from .decide import Decisions, find_meter, offered, prices_elsewhere, simulated
from .gate import ORIGINAL, Delivery, Gate
from .target import Target

_HINT = "compile without --base"
_ROUNDED = frozenset({Precision.INT8, Precision.INT4})


@dataclass(frozen=True, slots=True, eq=False)
class Earlier:
    """The bundle whose plan, scales and codebooks are taken.

    Attributes:
        bundle: The bundle.
        plan: What runs in what.
        constants: Of its deploy graph.
        model: Its deploy graph.
    """

    bundle: Bundle
    plan: Plan
    constants: Base
    model: ir.Model

    @classmethod
    def of(cls, bundle: Bundle) -> "Earlier":
        """Read what a bundle fixes.

        Raises:
            UsageError: It fixes nothing, or its own weights say more than scales and codebooks do.
        """
        report, plan = bundle.report(), bundle.plan()
        choices = [choice for _, choice in plan.choices]
        rounded = any(choice.precision in _ROUNDED or choice.storage for choice in choices)
        if report.attempts[-1].plan == ORIGINAL or not rounded:
            raise UsageError(f"{bundle.path}: has no scales or codebooks to keep", _HINT)
        if report.structure or any(choice.sparsity is not Sparsity.DENSE for choice in choices):
            raise UsageError(
                f"{bundle.path}: its weights were chosen, too, by pruning, factors or sparsity",
                _HINT,
            )
        model = ir.load(bundle.model)
        return cls(bundle, plan, Base(model.graph), model)

    @property
    def path(self) -> Path:
        """Where the bundle is."""
        return self.bundle.path

    @property
    def formats(self) -> tuple[Format, ...]:
        """The storage formats of the plan."""
        stored = (choice.storage for _, choice in self.plan.choices if choice.storage)
        return tuple(map(Format.parse, dict.fromkeys(stored)))

    def check_target(self, target: Target) -> None:
        """Refuse another device than the bundle's.

        Raises:
            UsageError: It is another, or its builder chooses the scales.
        """
        own = self.bundle.manifest.profile
        if (own.name, own.power_mode) != (target.profile.name, target.profile.power_mode):
            mode = f" --power-mode {own.power_mode}" if own.power_mode else ""
            raise UsageError(
                f"{self.path}: was compiled for {own.name}, not {target.profile.name}",
                f"give --device {own.name}{mode}, or compile without --base",
            )
        if not target.dialect.qdq:
            raise UsageError(f"{self.path}: {target.backend.name} chooses scales by itself", _HINT)

    def decisions(self, begun: Compilation) -> Decisions:
        """What was decided, to be written for a model of the same graph.

        Raises:
            InputError: It is another graph.
        """
        request, target, prepared = begun.request, begun.target, begun.prepared
        slots = self._slots(begun)
        writer, simulator = (
            PlanWriter(prepared.model, slots, dialect=dialect, ranges={}, base=self.constants)
            for dialect in (target.dialect, simulated(target))
        )
        try:
            written = writer.write(self.plan)
        except InputError as cause:
            where = f"{request.model} does not fit {self.path}"
            raise InputError(f"{where}: {cause.message}", cause.hint) from cause
        if difference := first_difference(self.model, written):
            raise self._another(request.model, difference)
        meter = find_meter(request, target, prepared, writer)
        cost = None if meter is None else meter.known()
        if meter is None or cost is None:
            prices = prices_elsewhere(request, target, slots)
            meter, cost, source = None, prices.cost, prices.source
        else:
            source = f"kernels and boundaries measured on {meter.setting}"
        return Decisions(
            profile=target.profile,
            slots=slots,
            cost=cost,
            source=source,
            writer=writer,
            simulator=simulator,
            activations=Activations.of({}, {}, unsigned=target.dialect.unsigned_activations),
            meter=meter,
            fresh=False,
            notes=() if prepared.real else ("agreement was measured on random inputs",),
        )

    def _slots(self, begun: Compilation) -> SlotGraph:
        """The slots that the plan is of.

        What is one kernel depends on what was offered, which no bundle says: all that the device
        runs, or no more than was chosen.

        Raises:
            InputError: The graph has others.
        """
        wanted = self.plan.as_dict()
        chosen = {Precision.FP32, *(choice.precision for choice in wanted.values())}
        slots = SlotGraph((), ())
        for precisions in (begun.target.profile.precisions, chosen):
            among = [precision for precision in Precision if precision in precisions]
            slots = offered(begun.target, begun.prepared, among, storage=self.formats)
            if {slot.name for slot in slots.slots} == wanted.keys() and all(
                wanted[slot.name] in slot.choices for slot in slots.slots
            ):
                return slots
        raise self._another(begun.request.model, _first_other(wanted, slots))

    def _another(self, model: str, difference: str) -> InputError:
        return InputError(f"{model} is not the graph of {self.path}: {difference}", _HINT)

    def delivered(self, gate: Gate, progress: Progress) -> Delivery:
        """What passes the gate.

        Raises:
            ConstraintError: It does not.
        """
        name = f"the plan and scales of {self.path}"
        delivery, attempt = gate.only(name, self.plan, progress)
        clipped = sum(self.constants.clipped.values())
        if delivery is None:
            reasons = "; ".join(attempt.decision.reasons)
            beyond = f"{clipped} weights are beyond the scales"
            raise ConstraintError(f"{name} do not pass the gate: {reasons} ({beyond})", _HINT)
        changed, total = self.constants.changed(gate.decisions.writer.write(self.plan).graph)
        notes = (
            *delivery.notes,
            f"{name} were taken: nothing was searched or calibrated",
            f"{changed} of {total} weights of few bits ({changed / max(total, 1):.2%}) are others",
            f"{clipped} weights are beyond the scales, and were clipped",
            self._agreement(gate, delivery),
        )
        return replace(delivery, notes=notes)

    def _agreement(self, gate: Gate, delivery: Delivery) -> str:
        """How far the outputs are those of the earlier engine, in one line."""
        target = gate.target
        if not target.here or delivery.engine is None or self.bundle.manifest.engine is None:
            return f"agreement with {self.path}: owed, {target.profile.title} is not here"
        old = load_engine(self.bundle, target.backend, gate.threads)
        reference = Reference.of(old, gate.report.samples, gate.report.split)
        new = target.backend.load(gate.folder, delivery.engine, gate.threads)
        got = measure(new, reference, agreement(reference.outputs, counted=True)).compiled
        value = f"{got.value.value:.2%} ({got.value.low:.2%} to {got.value.high:.2%})"
        return f"{got.metric} with {self.path}: {value} on {got.n} samples of the {got.split} split"

    def described(self, report: Report) -> Report:
        """A report whose slots say why they run in what they do."""
        rows = tuple(replace(row, why=f"as in {self.path}") for row in report.slots)
        return replace(report, slots=rows)


def _first_other(wanted: Mapping[str, NodeChoice], slots: SlotGraph) -> str:
    """The first kernel of a graph that does not fit a plan, in words."""
    for slot in slots.slots:
        choice = wanted.get(slot.name)
        if choice is None:
            return f"node '{slot.name}' ({slot.op}) is no kernel there"
        if choice not in slot.choices:
            form = f"{choice.kernel} {choice.storage}".strip()
            return f"node '{slot.name}' ({slot.op}) cannot run in {form}"
    here = {slot.name for slot in slots.slots}
    return f"it has no kernel '{next(name for name in wanted if name not in here)}'"


@contextmanager
def earlier(request: Request) -> Iterator[Earlier | None]:
    """The bundle that a request names, open; None where it names none.

    Raises:
        HwcError: It cannot be taken.
    """
    if request.base is None:
        yield None
        return
    with Bundle.open(request.base) as bundle:
        yield Earlier.of(bundle)
