"""How many plans a CPU-second judges: block by block against a session for each plan.

Run `python tests/bench/evaluations.py [MODEL]`. Three kinds of work: a sensitivity sweep (each of
50 slots by itself), a local search (a plan at random, then one slot after the other changed), and
plans that have nothing to do with each other. Both ways judge every plan, in turns, on one thread;
the time is CPU time of the whole evaluation, building included. Also printed is how far the outputs
are apart, beside the largest one. Asked: 2.3 times as many in the sweep of EfficientNet-Lite0 on
the 16 samples that a sweep uses.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from hwc.backends import ort
from hwc.toolchain.accuracy.blocks import BlockRunner, PlanRunner, Rebuild
from hwc.toolchain.accuracy.metric import Outputs
from hwc.toolchain.accuracy.samples import Sample
from hwc.toolchain.plan import Plan
from hwc.toolchain.slots import SlotGraph
from support.compilation import write_json
from support.devkit import SkipError, cases
from support.plans import Subject, random_plans, subject
from support.tables import markdown, say

MODEL = "efficientnet_lite0"
SLOTS = 50
ASKED = 2.3


@dataclass(frozen=True, slots=True)
class Row:
    """Both ways on the same plans.

    Attributes:
        work: What was judged.
        samples: Samples of each evaluation.
        plans: How many plans there were.
        rebuilt: Evaluations a CPU-second with a session for each plan.
        blocks: The same by blocks.
        whole: How many of them were run whole by `blocks`, too.
        apart: Largest difference of an output, beside the largest output.
    """

    work: str
    samples: int
    plans: int
    rebuilt: float
    blocks: float
    whole: int
    apart: float

    @property
    def ratio(self) -> float:
        """How many times as many evaluations blocks give."""
        return self.blocks / self.rebuilt


def sweep(graph: SlotGraph, count: int) -> Iterator[Plan]:
    """Each of some slots changed by itself, evenly spaced."""
    free = [i for i, slot in enumerate(graph.slots) if len(slot.choices) > 1]
    chosen = np.unique(np.linspace(0, len(free) - 1, min(count, len(free))).astype(int))
    yield Plan.of((slot.name, slot.choices[0]) for slot in graph.slots)
    for changed in (free[k] for k in chosen):
        pairs = enumerate(graph.slots)
        yield Plan.of((slot.name, slot.choices[1 if i == changed else 0]) for i, slot in pairs)


def moves(graph: SlotGraph, count: int) -> Iterator[Plan]:
    """A plan at random and its neighbours; every fourth is gone on from."""
    rng = np.random.default_rng(0)
    (base,) = random_plans(graph, 1, seed=0)
    free = [i for i, slot in enumerate(graph.slots) if len(slot.choices) > 1]
    yield base
    for number in range(count):
        i = int(rng.choice(free))
        slot, pairs = graph.slots[i], list(base.choices)
        others = [choice for choice in slot.choices if choice != pairs[i][1]]
        pairs[i] = slot.name, others[int(rng.integers(len(others)))]
        yield Plan(tuple(pairs))
        base = Plan(tuple(pairs)) if number % 4 == 3 else base


def compare(bench: Subject, work: str, plans: Sequence[Plan], samples: Sequence[Sample]) -> Row:
    """Judge all plans both ways, in turns."""
    writer = bench.space.simulator
    own = writer.dialect.name == ort.Ort.name
    plain, lean = (ort.Options(1, integers=own, arena=arena) for arena in (True, False))
    rebuild = Rebuild(lambda plan: ort.Session(writer.write(plan), plain))
    blocks = BlockRunner(writer, lambda model: ort.Session(model, lean))
    for plan in plans:
        writer.write(plan)  # constants are quantised once for all plans, whoever judges them
    seconds, apart = np.zeros(2), 0.0
    for plan in plans:
        taken, pair = zip(*(timed(run, plan, samples) for run in (rebuild, blocks)), strict=True)
        seconds += taken
        apart = max(apart, distance(*pair))
    rates = len(plans) / seconds
    return Row(work, len(samples), len(plans), *rates.tolist(), blocks.spent.whole, apart)


def timed(runner: PlanRunner, plan: Plan, samples: Sequence[Sample]) -> tuple[float, list[Outputs]]:
    """CPU seconds of one evaluation, and its outputs."""
    start = time.process_time()
    rows = list(runner.outputs(plan, samples))
    return time.process_time() - start, rows


def distance(got: Sequence[Outputs], expected: Sequence[Outputs]) -> float:
    """The largest difference of an output, beside the largest output."""
    return max(
        float(np.abs(a[name].astype(np.float64) - b[name]).max() / np.abs(b[name]).max())
        for a, b in zip(got, expected, strict=True)
        for name in b
    )


def measure(bench: Subject, counts: Sequence[int]) -> Iterator[Row]:
    """All kinds of work."""
    search = bench.prepared.splits.search
    graph = bench.space.slots
    kinds: dict[str, Callable[[], Iterator[Plan]]] = {
        "sweep": lambda: sweep(graph, SLOTS),
        "local moves": lambda: moves(graph, SLOTS),
        "unrelated": lambda: iter(random_plans(graph, SLOTS // 4, seed=1)),
    }
    for count in counts:
        # where the split is smaller, its samples are used again: they take as long
        samples = [search[i % len(search)] for i in range(count)]
        for work, plans in kinds.items():
            yield compare(bench, work, list(plans()), samples)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default=MODEL, help="[%(default)s]")
    parser.add_argument("--samples", type=int, nargs="+", default=[16, 64], help="[16 64]")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    asked = parser.parse_args()
    try:
        (case,) = cases([asked.model])
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="hwc-evaluations-") as name:
        bench = subject(case, Path(name) / "data", Path(name) / "table.sqlite")
        rows = list(measure(bench, asked.samples))
    head = ("work", "samples", "plans", "rebuilt/s", "blocks/s", "times", "whole", "apart")
    say(f"{asked.model}, evaluations a CPU-second:")
    cells = [
        (r.work, r.samples, r.plans, f"{r.rebuilt:.1f}", f"{r.blocks:.1f}", f"{r.ratio:.2f}")
        for r in rows
    ]
    ends = [(row.whole, f"{row.apart:.0e}") for row in rows]
    say(markdown(head, [tuple(map(str, (*c, *e))) for c, e in zip(cells, ends, strict=True)]))
    if asked.model == MODEL:
        say(f"asked of the sweep: {ASKED}")
    if asked.out:
        write_json(asked.out, {"model": asked.model, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    main()
