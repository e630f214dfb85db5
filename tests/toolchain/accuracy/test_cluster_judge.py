"""Plans are judged on a cluster as in one process, and none is lost with a node."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.ort import Options, Session
from hwc.toolchain.accuracy.blocks import BlockRunner
from hwc.toolchain.accuracy.cluster_judge import ClusterJudge, PlanCrew
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.judge import Memory, PlanJudge
from hwc.toolchain.accuracy.labelled import UserMetric
from hwc.toolchain.accuracy.losses import Distance, MetricDrop
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.accuracy.store import LossStore
from hwc.toolchain.cluster import Cluster
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.user_code import load_function
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.latency.wiring import FORMATS
from hwc.toolchain.origin import Origin
from hwc.toolchain.plan import Plan
from hwc.toolchain.search.explorer import Explorer
from hwc.toolchain.search.goal import Trial
from hwc.toolchain.search.ledger import Judge, Ledger
from hwc.toolchain.search.local import Local
from hwc.toolchain.search.problem import Limits, Problem
from hwc.toolchain.search.random_search import Random
from hwc.toolchain.slots import SlotGraph
from hwc.tools.stages.cluster import crew_of
from onnx import shape_inference

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

pytest.importorskip("ray", reason="Ray is not installed (pip install 'hwc-compiler[ray]')")
from ray.cluster_utils import Cluster as Nodes

# sockets and files of Ray's processes are left to the end of this one
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")

NETS = Path(__file__).parent / "nets"
STORE = 80 * 2**20  # bytes of a node's object store
BUDGET = 24
METRIC = """
OFFSET = 1.0

def closeness(outputs, labels):
    values = [float(output["y"].ravel()[0]) for output in outputs]
    return OFFSET - sum(abs(v - float(label)) for v, label in zip(values, labels)) / len(values)

def broken(outputs, labels):
    raise ValueError("no idea")
"""


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Two nodes of a CPU each."""
    found = Nodes(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": STORE}
    )
    found.add_node(num_cpus=1, object_store_memory=STORE)
    yield found
    found.shutdown()


@pytest.fixture(scope="module")
def cluster(nodes: Nodes) -> Iterator[Cluster]:
    with Cluster(nodes.address) as found:
        yield found


@pytest.fixture(scope="module")
def net(
    subject: Callable[..., "Subject"], parse_graph: Callable[[str], onnx.ModelProto]
) -> "Subject":
    graph = parse_graph((NETS / "residual.txt").read_text())
    return subject(shape_inference.infer_shapes(graph))


@pytest.fixture(scope="module")
def reference(net: "Subject") -> Reference:
    run = Session(net.model, Options(1, optimise=False))
    samples = [Sample(feeds, np.asarray(0.1 * i)) for i, feeds in enumerate(net.samples * 2)]
    return Reference.of(run, samples, "search")


@pytest.fixture(scope="module")
def crew(cluster: Cluster, net: "Subject") -> Iterator[PlanCrew]:
    found = crew_of(cluster, net.writer)
    yield found
    found.close()


def local(net: "Subject") -> BlockRunner:
    def opened(model: ir.Model) -> Session:
        return Session(model, Options(1, arena=False))

    return BlockRunner(net.writer, opened)


def plans_of(graph: SlotGraph, count: int) -> list[Plan]:
    rng = np.random.default_rng(0)
    return [
        Plan.of((s.name, s.choices[int(rng.integers(len(s.choices)))]) for s in graph.slots)
        for _ in range(count)
    ]


def problem_of(graph: SlotGraph) -> Problem:
    """Made-up costs, under which half of what can be saved has to be saved."""
    rng = np.random.default_rng(0)
    columns = max(len(slot.choices) for slot in graph.slots)
    node_us = rng.uniform(5.0, 10.0, (len(graph.slots), columns))
    node_us[:, 1:] *= 0.5
    for s, slot in enumerate(graph.slots):
        node_us[s, len(slot.choices) :] = np.inf
    boundary_us = np.zeros((len(graph.edges), len(FORMATS), len(FORMATS)))
    node_origin, boundary_origin = (
        np.full(table.shape, Origin.MEASURED) for table in (node_us, boundary_us)
    )
    cost = CostModel(graph, node_us, boundary_us, node_origin, boundary_origin, fixed_us=1.0)
    limit = (node_us[:, 0].sum() + node_us.min(axis=1).sum()) / 2
    drops = np.where(np.isfinite(node_us), rng.exponential(0.01, node_us.shape), np.nan)
    drops[:, 0] = 0.0
    return Problem(cost, np.ones(node_us.shape, np.int64), drops, limits=Limits(latency_us=limit))


def searched(
    explorer: Explorer,
    problem: Problem,
    judge: Judge,
    told: Callable[[Trial], None] = lambda _: None,
) -> list[Trial]:
    ledger = Ledger(problem, judge, BUDGET, told=told)
    explorer.explore(ledger, np.random.default_rng(3))
    return ledger.trials


def judges(
    net: "Subject", crew: PlanCrew, reference: Reference, memory: Memory | None = None
) -> tuple[ClusterJudge, PlanJudge]:
    """On the cluster and here."""
    loss = Distance.of(reference.outputs)
    there = ClusterJudge(crew, reference, loss, memory=memory)
    return there, PlanJudge(local(net), reference, loss)


def test_the_numbers_of_one_process(net: "Subject", crew: PlanCrew, reference: Reference) -> None:
    """Bit by bit, in order, for each sample and at each number of samples; each plan once."""
    there, here = judges(net, crew, reference)
    plans = plans_of(net.slots, 12)
    losses = list(there([*plans, *plans]))
    assert losses == list(here([*plans, *plans]))
    assert len(set(losses)) > 6
    assert np.array_equal(there.per_sample(plans), here.per_sample(plans))
    assert there.evaluations == here.evaluations == len(set(plans))
    few, same = there.at(3), here.at(3)
    assert list(few(plans)) == list(same(plans)) != losses[: len(plans)]
    assert few.samples == 3


def test_what_is_known_is_not_asked(
    net: "Subject", crew: PlanCrew, reference: Reference, tmp_path: Path
) -> None:
    """What one search keeps, another one reads, whether it has a cluster or not."""
    plans = plans_of(net.slots, 6)
    with LossStore(tmp_path / "losses.sqlite") as store:
        memory = Memory(store, "m")
        first, here = judges(net, crew, reference, memory)
        losses = list(first(plans[:4]))
        assert first.evaluations == 4
        again, _ = judges(net, crew, reference, memory)
        assert list(again(plans)) == [*losses, *here(plans[4:])]
        assert again.evaluations == 2


def test_a_loss_is_kept_though_an_earlier_one_is_awaited(
    net: "Subject", crew: PlanCrew, reference: Reference, tmp_path: Path
) -> None:
    """Stopped after the first loss, a search has lost none of those that had arrived."""
    with LossStore(tmp_path / "losses.sqlite") as store:
        judge, _ = judges(net, crew, reference, Memory(store, "m"))
        losses = judge(plans_of(net.slots, 8))
        next(losses)
        assert store.resume(judge.context) == judge.evaluations >= 1


@pytest.mark.parametrize("explorer", [Random(), Local()], ids=lambda explorer: explorer.name)
def test_same_seed_same_search(
    net: "Subject", crew: PlanCrew, reference: Reference, explorer: Explorer
) -> None:
    there, here = judges(net, crew, reference)
    problem = problem_of(net.slots)
    trials = searched(explorer, problem, there)
    assert trials == searched(explorer, problem, here)
    assert len(trials) == BUDGET


def test_a_users_metric_travels(
    net: "Subject", crew: PlanCrew, reference: Reference, tmp_path: Path
) -> None:
    """No other machine has the file that it is in."""
    file = tmp_path / "mine.py"
    file.write_text(METRIC)
    function = load_function(f"{file}:closeness")
    file.unlink()
    sent = MetricDrop(UserMetric(function, "closeness"))
    plans = plans_of(net.slots, 3)
    got = list(ClusterJudge(crew, reference, sent)(plans))
    assert got == list(PlanJudge(local(net), reference, sent)(plans))
    broken = MetricDrop(UserMetric(sys.modules[function.__module__].broken, "broken"))
    with pytest.raises(InputError, match="running broken failed: ValueError: no idea"):
        list(ClusterJudge(crew, reference, broken)(plans))


def test_a_lost_node_loses_no_evaluation(
    nodes: Nodes, cluster: Cluster, net: "Subject", reference: Reference, crew: PlanCrew
) -> None:
    """Taken away in the midst of a search: the same trials, each counted once."""
    crew.close()  # which has all CPUs
    third = nodes.add_node(num_cpus=1, object_store_memory=STORE)
    notes: list[str] = []
    team = crew_of(cluster, net.writer, notes.append)
    there, here = judges(net, team, reference)
    problem, removed = problem_of(net.slots), []

    def told(trial: Trial) -> None:
        if trial.number == BUDGET // 3:
            nodes.remove_node(third)
            removed.append(trial)

    list(there.at(1)(plans_of(net.slots, 60)))  # until all workers have started
    trials = searched(Random(), problem, there, told)
    team.close()
    assert removed
    assert trials == searched(Random(), problem, here)
    assert [trial.number for trial in trials] == list(range(BUDGET))
    assert there.evaluations == BUDGET
    assert set(notes) <= {"a worker of the Ray cluster was lost: another one takes its plan"}
