"""How many plans a second are judged on a Ray cluster of 1, 2 and 4 workers, and that none differs.

Run `python tests/bench/cluster.py [MODEL]`. The cluster runs on this machine, in as many nodes of a
CPU each as there are workers at most: beyond the machine's cores nothing can be gained, and other
programs on it show. The plans are random ones, as random search has them; the time begins when all
workers have started and have the samples. Beside stands one process without Ray, on one thread.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
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
STORE = 200 * 2**20  # bytes of a node's object store


@dataclass(frozen=True, slots=True)
class Row:
    """One way to judge the plans.

    Attributes:
        where: How many workers, or one process.
        rate: Evaluations a second.
        same: Whether its losses are those of the first row, bit by bit.
    """

    where: str
    rate: float
    same: bool


def judged(judge: Judge, plans: Sequence[Plan]) -> tuple[float, list[float]]:
    """Evaluations a second, and the losses."""
    start = time.perf_counter()
    losses = list(judge(plans))
    return len(plans) / (time.perf_counter() - start), losses


def measure(bench: Subject, workers: Sequence[int], *, count: int, samples: int) -> Iterator[Row]:
    """One process first, then every number of workers."""
    part = Reference.of(reference(bench.prepared.original), bench.prepared.splits.search, "search")
    loss = Distance.of(part.outputs)
    plans = random_plans(bench.space.slots, count, seed=0)
    first = random_plans(bench.space.slots, 8 * max(workers), seed=1)
    writer = bench.space.simulator
    options = ort.Options(1, integers=writer.dialect.name == ort.Ort.name, arena=False)
    runner = BlockRunner(writer, lambda model: ort.Session(model, options), steady=True)
    here = PlanJudge(runner, part, loss, count=samples)
    list(here(first[:8]))
    rate, expected = judged(here, plans)
    yield Row("one process", rate, same=True)
    node = {"num_cpus": 1, "object_store_memory": STORE}
    nodes = ray.cluster_utils.Cluster(initialize_head=True, head_node_args=node)
    for _ in range(max(workers) - 1):
        nodes.add_node(**node)
    with Cluster(nodes.address, seconds=60) as cluster:
        for number in workers:
            crew = crew_of(cluster, writer, workers=number)
            there = ClusterJudge(crew, part, loss, count=samples)
            list(there(first))
            rate, losses = judged(there, plans)
            crew.close()
            yield Row(f"{number} workers", rate, same=bool(np.array_equal(losses, expected)))
    nodes.shutdown()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default=MODEL, help="[%(default)s]")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="[1 2 4]")
    parser.add_argument("--plans", type=int, default=48, help="[%(default)s]")
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
        rows = list(measure(bench, asked.workers, count=asked.plans, samples=asked.samples))
    say(
        f"{asked.model}, {asked.plans} random plans on {asked.samples} samples, "
        f"{os.cpu_count()} cores, which other programs share:"
    )
    base = rows[0].rate
    cells = [(r.where, f"{r.rate:.2f}", f"{r.rate / base:.2f}", str(r.same)) for r in rows]
    say(markdown(("where", "evaluations/s", "times", "same losses"), cells))
    if asked.out:
        write_json(asked.out, {"model": asked.model, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
