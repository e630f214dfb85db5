"""How many plans a second are judged on a Ray cluster of 1, 2 and 4 workers, and that none differs.

Run `python tests/bench/cluster.py [MODEL]`. The cluster runs on this machine, in as many nodes of a
CPU each as there are workers at most: beyond the machine's cores nothing can be gained, and other
programs on it show. The plans are random ones, as random search has them, others in each round; the
time begins when as many plans were run as warm one process up, which stands beside: without Ray, on
one thread. All ways are measured in turns. The table has the median of the rounds with the lowest
and the highest, and the load average says how far to believe it.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import ray.cluster_utils
from hwc.backends import ort
from hwc.toolchain.accuracy.blocks import BlockRunner
from hwc.toolchain.accuracy.cluster_judge import ClusterJudge
from hwc.toolchain.accuracy.evaluator import Reference
from hwc.toolchain.accuracy.judge import Judge, PlanJudge
from hwc.toolchain.accuracy.losses import Distance
from hwc.toolchain.cluster import Cluster
from hwc.toolchain.plan import Plan
from hwc.tools.stages.cluster import crew_of
from hwc.tools.stages.decide import reference
from support.compilation import write_json
from support.devkit import SkipError, cases
from support.plans import Subject, random_plans, subject
from support.tables import markdown, say

MODEL = "efficientnet_lite0"
WARM = 32  # plans
STORE = 200 * 2**20  # bytes of a node's object store


@dataclass(frozen=True, slots=True)
class Row:
    """One way to judge the plans.

    Attributes:
        where: How many workers, or one process.
        rates: Evaluations a second, of each round.
        same: Whether its losses are those of one process, bit by bit.
    """

    where: str
    rates: tuple[float, ...]
    same: bool


@dataclass(frozen=True, slots=True)
class Round:
    """What is judged in a round, the same by every way.

    Attributes:
        warm: Plans that are run beforehand.
        plans: Those that count.
    """

    warm: Sequence[Plan]
    plans: Sequence[Plan]

    def judged(self, judge: Judge) -> tuple[float, list[float]]:
        """Evaluations a second, and the losses."""
        list(judge(self.warm))
        start = time.perf_counter()
        losses = list(judge(self.plans))
        return len(self.plans) / (time.perf_counter() - start), losses


def measure(bench: Subject, cluster: Cluster, asked: argparse.Namespace) -> list[Row]:
    """One process, and every number of workers, in turns."""
    part = Reference.of(reference(bench.prepared.original), bench.prepared.splits.search, "search")
    loss, writer = Distance.of(part.outputs), bench.space.simulator
    options = ort.Options(1, integers=writer.dialect.name == ort.Ort.name, arena=False)
    rates: dict[int, list[float]] = {number: [] for number in (0, *asked.workers)}
    same = dict.fromkeys(rates, True)
    for seed in range(asked.rounds):
        drawn = random_plans(bench.space.slots, asked.plans + WARM, seed=seed)
        these, expected = Round(drawn[:WARM], drawn[WARM:]), []
        for number, found in rates.items():
            if number:
                crew = crew_of(cluster, writer, workers=number)
                rate, losses = these.judged(ClusterJudge(crew, part, loss, count=asked.samples))
                crew.close()
            else:
                runner = BlockRunner(writer, lambda m: ort.Session(m, options), steady=True)
                rate, losses = these.judged(PlanJudge(runner, part, loss, count=asked.samples))
                expected = losses
            found.append(rate)
            same[number] &= losses == expected
    names = {0: "one process", 1: "1 worker"}
    return [Row(names.get(n, f"{n} workers"), tuple(r), same[n]) for n, r in rates.items()]


def local_cluster(count: int) -> ray.cluster_utils.Cluster:
    """So many nodes of a CPU each, on this machine."""
    node = {"num_cpus": 1, "object_store_memory": STORE}
    nodes = ray.cluster_utils.Cluster(initialize_head=True, head_node_args=node)
    for _ in range(count - 1):
        nodes.add_node(**node)
    return nodes


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default=MODEL, help="[%(default)s]")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="[1 2 4]")
    parser.add_argument("--plans", type=int, default=48, help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="[%(default)s]")
    parser.add_argument("--samples", type=int, default=64, help="[%(default)s]")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    asked = parser.parse_args()
    try:
        (case,) = cases([asked.model])
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="hwc-cluster-") as name:
        bench = subject(case, Path(name) / "data", Path(name) / "table.sqlite")
        nodes = local_cluster(max(asked.workers))
        with Cluster(nodes.address, seconds=60) as cluster:
            rows = measure(bench, cluster, asked)
        nodes.shutdown()
    say(
        f"{asked.model}, {asked.rounds} rounds of {asked.plans} random plans on {asked.samples} "
        f"samples; {os.cpu_count()} cores, load average {os.getloadavg()[1]:.1f}:"
    )
    base = median(rows[0].rates)
    cells = [
        (
            *(row.where, f"{median(row.rates):.1f}", f"{min(row.rates):.1f}-{max(row.rates):.1f}"),
            *(f"{median(row.rates) / base:.2f}", str(row.same)),
        )
        for row in rows
    ]
    say(markdown(("where", "evaluations/s", "range", "times", "same losses"), cells))
    if asked.out:
        write_json(asked.out, {"model": asked.model, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
