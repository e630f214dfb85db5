"""Small graphs that plans are written into: from ONNX text, with made-up weights."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Ort, Session
from hwc.passes.apply import PlanWriter
from hwc.toolchain import kernels
from hwc.toolchain.calibration import Range
from hwc.toolchain.device import load_profile
from hwc.toolchain.dialect import Dialect
from hwc.toolchain.engine import Array, Feeds
from hwc.toolchain.find_slots import find_slots
from hwc.toolchain.observe import annotate, observer
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.slots import SlotGraph
from hwc.toolchain.verify import Numbers, compare_outputs
from hwc.tools.backends import open_backend
from hypothesis import settings
from onnx import helper, numpy_helper

# The same examples each time, so that a change fails for what it changed; to look for new ones:
# pytest --hypothesis-profile default
settings.load_profile("ci")

SAMPLES = 4  # inferences that the ranges are read off, and that results are compared on


def pytest_configure() -> None:
    """Take signals as a terminal's child does, even where the shell that started us ignores them.

    A job in the background inherits that Ctrl-C is ignored, and so would every command that a test
    starts and interrupts.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@dataclass(frozen=True, slots=True)
class Subject:
    """A graph on the workbench.

    Attributes:
        model: The graph.
        slots: Its slots, in the dialect.
        writer: Writes plans with ranges that hold every value that the samples give rise to.
        samples: What it is fed.
    """

    model: ir.Model
    slots: SlotGraph
    writer: PlanWriter
    samples: tuple[Feeds, ...]

    def plan(self, **precisions: str) -> Plan:
        """The plan with these precisions by slot name, `__all__` for the rest."""
        rest = precisions.pop("every", "fp32")
        pairs = []
        for slot in self.slots.slots:
            choice = NodeChoice(Precision(precisions.get(slot.name, rest)))
            legal = choice in slot.choices or slot.name in precisions
            pairs.append((slot.name, choice if legal else NodeChoice()))
        return Plan.of(pairs)

    def write(self, **precisions: str) -> onnx.ModelProto:
        """The graph with a plan written into it."""
        return ir.to_proto(self.writer.write(self.plan(**precisions)))

    def numbers(self, written: onnx.ModelProto, *, optimise: bool = False) -> Numbers:
        """A written graph against this one with the runtime's optimiser off, at the worst.

        With `optimise`, the written graph runs as the host's, or as another device's simulation.
        """
        reference = open_reference(self.model)
        own = self.writer.dialect.name == Ort.name
        options = Options(threads=1, optimise=optimise, integers=own)
        got = Session(ir.from_proto(written), options)
        return Numbers.worst_of(compare_outputs(reference(f), got(f)) for f in self.samples)


def open_reference(model: ir.Model) -> Session:
    """A runner that computes the graph as it is written."""
    return Session(model, Options(threads=1, optimise=False))


@cache
def dialect_of(device: str) -> Dialect:
    """The dialect of a device; `x86` is the host's on a machine with uint8 activations."""
    profile = load_profile("host" if device == "x86" else device)
    if device == "x86":
        profile = replace(profile, target="x86_64")
    return open_backend(profile.backend).dialect(profile)


def parse(text: str) -> onnx.ModelProto:
    """A model from ONNX text.

    Tensors that are declared, but neither initialised nor written, become random weights; a node
    without a name is called after the first tensor that it writes.
    """
    proto = onnx.parser.parse_model(text)
    rng = np.random.default_rng(1)
    written = {name for node in proto.graph.node for name in node.output}
    for value in list(proto.graph.value_info):
        if value.name not in written:
            shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            fan_in = np.prod(shape[1:]) if len(shape) > 1 else 4.0
            array = (rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
            proto.graph.initializer.append(numpy_helper.from_array(array, value.name))
            proto.graph.value_info.remove(value)
    for node in proto.graph.node:
        node.name = node.name or node.output[0]
    return proto


def random_feeds(proto: onnx.ModelProto, seed: int) -> dict[str, Array]:
    """Inputs for a model; a free dimension is 2."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for value in proto.graph.input:
        tensor = value.type.tensor_type
        numbers = rng.standard_normal([dim.dim_value or 2 for dim in tensor.shape.dim])
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        feeds[value.name] = np.asarray(numbers if dtype.kind == "f" else numbers > 0, dtype)
    return feeds


def min_max(model: ir.Model, samples: tuple[Feeds, ...]) -> Mapping[str, Range]:
    """The range of every float tensor over the samples; of none that holds an infinity."""
    written = [out for node in model.graph for out in node.outputs if kernels.is_float(out)]
    tensors = [str(value.name) for value in (*model.graph.inputs, *written) if value.name]
    run = observer(model, tensors, open_reference)
    low, high = dict.fromkeys(tensors, 0.0), dict.fromkeys(tensors, 0.0)
    for feeds in samples:
        outputs = run(feeds)
        for name in tensors:
            low[name] = min(low[name], float(outputs[name].min(initial=0)))
            high[name] = max(high[name], float(outputs[name].max(initial=0)))
    finite = [name for name in tensors if np.isfinite([low[name], high[name]]).all()]
    return {name: Range(low[name], high[name]) for name in finite}


def on_workbench(
    source: onnx.ModelProto | str,
    dialect: Dialect | str = "x86",
    *,
    precisions: tuple[Precision, ...] = tuple(Precision),
    samples: tuple[Feeds, ...] = (),
) -> Subject:
    """A model or ONNX text, for a device or in a dialect."""
    proto = parse(source) if isinstance(source, str) else source
    dialect = dialect_of(dialect) if isinstance(dialect, str) else dialect
    samples = samples or tuple(random_feeds(proto, seed) for seed in range(SAMPLES))
    model = ir.from_proto(proto)
    seen = annotate(model, open_reference, samples[0])
    slots = find_slots(seen, dialect, precisions)
    writer = PlanWriter(model, slots, dialect=dialect, ranges=min_max(model, samples))
    return Subject(model, slots, writer, samples)


@pytest.fixture(scope="session")
def parse_graph() -> Callable[[str], onnx.ModelProto]:
    """Reads ONNX text and fills in what it leaves out."""
    return parse


@pytest.fixture(scope="session")
def find_dialect() -> Callable[[str], Dialect]:
    """The dialect of a device."""
    return dialect_of


@pytest.fixture(scope="session")
def subject() -> Callable[..., Subject]:
    """Puts a graph on the workbench."""
    return on_workbench
