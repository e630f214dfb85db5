"""A machine whose times are known: builds that take what a rule says, kernel by kernel."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
import pytest
from hwc.toolchain.engine import KernelTime, TimedBuild
from hwc.toolchain.latency.measure import Measurement, measurements
from hwc.toolchain.naming import derived
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.slots import Edge, Slot, SlotGraph, Work

FP32, INT8 = NodeChoice(), NodeChoice(Precision.INT8)
BOTH = (FP32, INT8)
RUNS = 8


def chain_slot(name: str, key: str, reads: tuple[str, ...], *choices: NodeChoice) -> Slot:
    """A slot that writes the tensor of its own name."""
    work = Work(0, 0, 0, 0)
    return Slot(name, "Conv", ((name,),), (), reads, (name,), key, "conv", work, choices or BOTH)


# x -> a -> b -> c -> d (fp32 only), and a -> d; a and c are equal kernels. Outputs: b and d.
GRAPH = SlotGraph(
    (
        chain_slot("a", "k1", ("x",)),
        chain_slot("b", "k2", ("a",)),
        chain_slot("c", "k1", ("b",)),
        chain_slot("d", "k3", ("c", "a"), FP32),
    ),
    (
        Edge("x", -1, (0,), 100),
        Edge("a", 0, (1, 3), 200),
        Edge("b", 1, (2,), 300, is_output=True),
        Edge("c", 2, (3,), 200),
        Edge("d", 3, (), 50, is_output=True),
    ),
)


@dataclass(frozen=True)
class Machine:
    """A machine that needs a known time for everything.

    Attributes:
        graph: The slots that it runs.
        kernels: Microseconds by key of the kernel and precision.
        bases: What a conversion takes at least, by its direction.
        slopes: What it takes for each element.
        fixed: What a run takes beside.
        profiler: What the profiler adds to each kernel.
        layout: Microseconds of a change of layout alone, by tensor.
    """

    graph: SlotGraph = GRAPH
    kernels: dict[tuple[str, str], float] = field(
        default_factory=lambda: {
            ("k1", "fp32"): 40.0,
            ("k1", "int8"): 12.0,
            ("k2", "fp32"): 9.0,
            ("k2", "int8"): 14.0,
            ("k3", "fp32"): 6.0,
        }
    )
    bases: tuple[float, float] = (1.0, 2.0)  # into int8, out of it
    slopes: tuple[float, float] = (0.02, 0.01)
    fixed: float = 5.0
    profiler: float = 0.0
    layout: dict[str, float] = field(default_factory=dict)

    def conversion(self, edge: Edge, *, into: bool) -> float:
        """The time of one conversion of a tensor."""
        which = 0 if into else 1
        return self.bases[which] + self.slopes[which] * edge.elements

    def conversions(self, plan: Plan) -> dict[str, float]:
        """The time of the conversion of each tensor that a plan converts, by tensor."""
        int8 = [choice.precision is Precision.INT8 for _, choice in plan.choices]
        times = {}
        for edge in self.graph.edges:
            source = edge.producer >= 0 and int8[edge.producer]
            wanted = {int8[i] for i in edge.consumers} | ({False} if edge.is_output else set())
            if wanted - {source}:
                times[edge.tensor] = self.conversion(edge, into=not source)
        return times

    def truth(self, plan: Plan) -> float:
        """What a run of a plan takes."""
        chosen = plan.as_dict()
        nodes = (self.kernels[s.key, chosen[s.name].precision.value] for s in self.graph.slots)
        return (
            sum(nodes)
            + sum(self.conversions(plan).values())
            + self.fixed
            + sum(self.layout.values())
        )

    def build(self, plan: Plan) -> TimedBuild:
        """A build as a runtime's profiler shows it."""
        chosen = plan.as_dict()
        parts = [
            (
                slot.name,
                "Conv",
                slot.name,
                self.kernels[slot.key, chosen[slot.name].precision.value],
            )
            for slot in self.graph.slots
        ]
        parts += [
            (derived(tensor, "q"), "QuantizeLinear", derived(tensor, "q"), us)
            for tensor, us in self.conversions(plan).items()
        ]
        parts += [(f"{t}_reorder", "ReorderInput", t, us) for t, us in self.layout.items()]
        read = ir.Value(name="something")
        nodes = [ir.node(op, [read], name=name) for name, op, _, _ in parts]
        kernels = tuple(
            KernelTime(name, op, (tensor,), np.full(RUNS, us + self.profiler))
            for name, op, tensor, us in parts
        )
        graph = ir.Graph([], [], nodes=nodes)
        return TimedBuild(kernels, graph, np.full(RUNS, self.truth(plan)))

    def measure(self, plans: Sequence[Plan]) -> list[Measurement]:
        """Measure plans on this machine, whose speed changes from one build to the next."""
        speeds = itertools.cycle((1.0, 1.25, 0.8))
        return list(
            measurements(
                self.graph,
                plans=plans,
                write=lambda plan: ir.Model(
                    ir.Graph([], [], nodes=[], doc_string=plan.to_json()), ir_version=10
                ),
                time_builds=lambda models: self._turns(models, next(speeds)),
            )
        )

    def _turns(self, models: Sequence[ir.Model], speed: float) -> list[TimedBuild]:
        plans = (Plan.from_json(str(model.graph.doc_string)) for model in models)
        return [slowed(self.build(plan), speed) for plan in plans]


def slowed(build: TimedBuild, factor: float) -> TimedBuild:
    """The same build while the machine is slower."""
    kernels = tuple(replace(kernel, us=kernel.us * factor) for kernel in build.kernels)
    return replace(build, kernels=kernels, total_us=build.total_us * factor)


@pytest.fixture(scope="session")
def machine() -> Callable[..., Machine]:
    """Makes a machine."""
    return Machine
