"""The body of `hwc estimate`: what each plan of a model should take on one device, or on all."""

from collections.abc import Iterator, Sequence

import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.device import DeviceProfile, load_profile, profile_names, resolve
from ..toolchain.dialect import Dialect
from ..toolchain.errors import HwcError, InputError, UsageError
from ..toolchain.find_slots import find_slots
from ..toolchain.frontend.load import load_structure
from ..toolchain.frontend.shapes import fix_shapes, model_inputs
from ..toolchain.inputs import fixed_shapes
from ..toolchain.latency.forecast import Ask, Forecast, forecast, preferring
from ..toolchain.latency.memory import find_weights
from ..toolchain.latency.prices import Prices, Tables, from_profile, merged
from ..toolchain.plan import Precision
from ..toolchain.progress import Silent
from ..toolchain.slots import SlotGraph
from .backends import open_backend
from .question import ALL, Answer, Outlook, Preferences, Question, plan_name
from .stages.rewrite import rewrite

UNIFORM = tuple((precision,) for precision in Precision)
# What TensorRT's users ask for with `--int8 --fp16`: kernels without int8 need not stay in fp32.
USUAL = (*UNIFORM, (Precision.INT8, Precision.FP16))
SPARSE = "2:4 sparsity"
_ABSENT = "it does not run there"


def estimate(question: Question) -> Answer:
    """Predict what a model takes; nothing is built, run or read that a graph alone can tell.

    Raises:
        HwcError: The model, or the one device that was asked for, cannot be used.
    """
    subject = Subject(question)
    outlooks, failed = [], {}
    for name in profile_names() if question.device == ALL else (question.device,):
        try:
            outlooks.append(_outlook(subject, name))
        except HwcError as error:
            if question.device != ALL:
                raise
            failed[name] = error.message
    if question.device != ALL and not outlooks[0].forecasts:
        raise _nothing(outlooks[0])
    return Answer(question, subject.shapes, tuple(outlooks), failed, subject.notes.distinct)


class Subject:
    """A model, loaded once and rewritten once for each dialect."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.notes = Notes()
        self._model = load_structure(question.model, inputs=question.inputs, progress=self.notes)
        self._written: list[tuple[Dialect, ir.Model]] = []
        self.shapes = fixed_shapes(model_inputs(self._model), question.batch)

    def written(self, dialect: Dialect) -> ir.Model:
        """The model in a dialect, with every shape known.

        Where the runtime takes free dimensions, passes see them free: as in a compilation.

        Raises:
            InputError: It cannot be written in the dialect, or a shape does not follow.
        """
        known = next((model for other, model in self._written if other == dialect), None)
        if known is not None:
            return known
        source = self._model
        if dialect.static_shapes:
            source = fix_shapes(source, self.shapes, static=True)
        model, _ = rewrite(source, dialect, self.notes)
        model = fix_shapes(model, self.shapes, static=True)
        _check_shapes(model, self.question.model)
        self._written.append((dialect, model))
        return model


def _outlook(subject: Subject, device: str) -> Outlook:
    """What the model should take on a device."""
    question, resolved = subject.question, resolve(device)
    profile = resolved.profile
    if question.power_mode:
        profile = profile.in_mode(question.power_mode)
    if question.sparse and profile.sparse_2_4 is None:
        return Outlook(profile, (), {SPARSE: _ABSENT}, resolved.note)
    dialect = open_backend(profile.backend).dialect(profile)
    model = subject.written(dialect)
    graph = find_slots(model, dialect, profile.precisions)
    refused = dict(_refusals(question.plans or UNIFORM, profile, graph))
    plans = [plan for plan in question.plans or USUAL if plan_name(plan) not in refused]
    prices = _prices(subject, profile, dialect, graph)
    weights = find_weights(model, prices.cost.graph)
    forecasts: dict[bytes, Forecast] = {}
    for plan in plans:
        indices = preferring(prices.cost.graph, plan)
        if indices.tobytes() not in forecasts:
            ask = Ask(plan_name(plan), indices, question.sparse)
            forecasts[indices.tobytes()] = forecast(ask, prices, profile, weights)
    return Outlook(profile, tuple(forecasts.values()), refused, resolved.note)


def _prices(subject: Subject, profile: DeviceProfile, dialect: Dialect, graph: SlotGraph) -> Prices:
    """What kernels take on a device: measured or borrowed where a table tells, else estimated."""
    tables = Tables(profile, dialect, subject.question.table)
    if tables and not subject.question.sparse:
        known = graph
        if profile.backend == "ort":
            from ..backends.ort import running_graph  # noqa: PLC0415 - only where a table is read

            known = merged(graph, subject.written(dialect), running_graph)
        if prices := tables.prices(known):
            return prices
    return from_profile(graph, profile)


def _refusals(
    plans: Sequence[Preferences], profile: DeviceProfile, graph: SlotGraph
) -> Iterator[tuple[str, str]]:
    """The plans that do not run on a device, and why."""
    has = {choice.precision for slot in graph.slots for choice in slot.choices}
    for plan in plans:
        if not set(plan) <= set(profile.precisions):
            yield plan_name(plan), _ABSENT
        elif not set(plan) <= has:
            yield plan_name(plan), "no kernel of the model has such a form there"


class Notes(Silent):
    """A Progress that keeps the notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @property
    def distinct(self) -> tuple[str, ...]:
        """Each note once."""
        return tuple(dict.fromkeys(self.lines))

    def note(self, text: str) -> None:
        """Keep a line."""
        self.lines.append(text)


def _check_shapes(model: ir.Model, source: str) -> None:
    """Refuse a graph with a float tensor of unknown size: its kernel would be priced as nothing."""
    for node in model.graph:
        for value in node.outputs:
            unknown = value.type is None or kernels.is_float(value)
            if value.name and unknown and (value.shape is None or not value.shape.is_static()):
                raise InputError(
                    f"{source}: the shape of {value.name!r}, which node {node.name!r} "
                    f"({node.op_type}) writes, does not follow from the graph",
                    "hwc compile sees shapes by running the model",
                )


def _nothing(outlook: Outlook) -> UsageError:
    """Why nothing that was asked for runs on the only device."""
    profile = outlook.profile
    if SPARSE in outlook.refused:
        return UsageError(f"--sparsity 2:4: {profile.name} does not run it", _sparse_devices())
    reasons = "; ".join(f"{plan}: {why}" for plan, why in outlook.refused.items())
    return UsageError(
        f"--precision on {profile.name}: {reasons}", f"it runs {', '.join(profile.precisions)}"
    )


def _sparse_devices() -> str:
    """A hint that names the devices that run 2:4 sparsity."""
    profiles = map(load_profile, profile_names())
    return f"these do: {', '.join(profile.name for profile in profiles if profile.sparse_2_4)}"
