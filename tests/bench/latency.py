"""Whether latency tables can be trusted: what they predict beside what plans then take.

Run `python tests/bench/latency.py [MODEL...]`. For each development model a latency table is
measured as `hwc profile` does it, and 60 random plans that mix precisions are priced from it, built
and timed on this machine. Plans and probes are drawn apart: no plan that is predicted was measured
for the table. Printed are the error of the prediction; of the sum of the kernels without what
changes of form cost; of kernels that were timed alone, each in a graph of its own (`--isolated`);
and of a table that holds only the other models, whose rows are borrowed. `again` is the noise: the
same plans, built and timed a second time.

Asked: median 3 %, 95th percentile 8 %, Spearman 0.98; borrowed: median 12 %.

All times are process CPU time on one thread, and scaled: each plan runs in turns with the fp32
build, and counts as the fp32 build's time in the table times what the turns say.
"""

import argparse
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from hwc.backends import ort
from hwc.toolchain.device import load_profile
from hwc.toolchain.latency.build_cost import from_table
from hwc.toolchain.latency.cost import CostModel
from hwc.toolchain.latency.merge import merge_tables
from hwc.toolchain.latency.observed import anchor_us as anchor_us_of
from hwc.toolchain.latency.probes import MIXED_PROFILE, probe_plans, uniform
from hwc.toolchain.latency.table import LatencyTable, Mode
from hwc.toolchain.plan import Plan, Precision
from hwc.toolchain.progress import Silent
from hwc.toolchain.search.problem import Problem
from hwc.toolchain.timing import Clock, Timing, paired_latency
from hwc.tools.stages.problem import weight_bytes
from scipy.stats import spearmanr
from support.compilation import write_json
from support.devkit import SkipError, cases
from support.isolated import isolated_costs
from support.plans import Subject, random_plans, subject
from support.tables import markdown, say

PLANS = 60
AGAIN = 12  # plans that are measured twice
RUNS = 40  # of each plan, in turns with the fp32 build
PRICED = 20_000  # plans that are priced at once
SEED = 7
FEWEST = 3  # tables to borrow from

Times = npt.NDArray[np.float64]  # microseconds, one a plan


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far predictions of one model's plans were from what they took."""

    prediction: str
    median: float
    p95: float
    bias: float
    spearman: float

    @classmethod
    def of(cls, prediction: str, predicted: Times, measured: Times) -> "Outcome":
        """Compare; shapes (plans,)."""
        off = predicted / measured - 1.0
        rank = spearmanr(predicted, measured).statistic if len(predicted) > 1 else np.nan
        return cls(
            prediction,
            float(np.median(np.abs(off))),
            float(np.percentile(np.abs(off), 95)),
            float(np.median(off)),
            float(rank),
        )

    def cells(self) -> tuple[str, ...]:
        """One row of the table."""
        parts = f"{self.median:.1%}", f"{self.p95:.1%}", f"{self.bias:+.1%}", f"{self.spearman:.3f}"
        return self.prediction, *parts


def table_of(it: Subject) -> float:
    """Measure the model's probes into the table; seconds that took."""
    started = time.perf_counter()
    with LatencyTable.open(it.meter.path, Mode.WRITE) as table:
        it.meter.measure(table, probe_plans(it.space.slots, MIXED_PROFILE), Silent())
    return time.perf_counter() - started


def measured(it: Subject, plans: list[Plan]) -> Times:
    """What the plans take: the fp32 build's time in the table, by what turns with it say."""
    with LatencyTable.open(it.meter.path) as table:
        anchor_us = anchor_us_of(table, it.meter.setting, it.space.slots)
    assert anchor_us is not None  # the table was just measured
    anchor = uniform(it.space.slots, Precision.FP32)
    return np.array([anchor_us / _speed_up(it, anchor, plan) for plan in plans])


def _speed_up(it: Subject, anchor: Plan, plan: Plan) -> float:
    """Each build is opened anew: sessions of one model differ for as long as they live."""
    options = ort.Options(threads=1)
    sides = (ort.Session(it.space.writer.write(which), options) for which in (anchor, plan))
    timing = Timing(min_runs=RUNS, max_runs=RUNS)
    return paired_latency(*sides, it.prepared.feeds, timing).ratio[Clock.CPU].value


def rows_of(it: Subject, cost: CostModel, plans: list[Plan]) -> npt.NDArray[np.intp]:
    """The plans as indices of choices; shape (plans, slots)."""
    problem = Problem(cost, weight_bytes(it.space.slots))
    return np.array([problem.indices(plan) for plan in plans], np.intp)


def node_sums(cost: CostModel, rows: npt.NDArray[np.intp]) -> Times:
    """The sum of the kernels alone: what tables without boundaries predict."""
    slots = np.arange(rows.shape[1])
    total: Times = cost.node_us[slots, rows].sum(axis=1) + cost.fixed_us
    return total


@dataclass(frozen=True, slots=True)
class Study:
    """One model, its random plans, and what they took.

    Attributes:
        it: The model.
        rows: The plans as indices of choices; shape (plans, slots).
        took: What they took; shape (plans,).
        seconds: How long its table took to measure.
    """

    it: Subject
    rows: npt.NDArray[np.intp]
    took: Times
    seconds: float

    @classmethod
    def of(cls, it: Subject, count: int) -> "Study":
        """Measure the model's table, and then its plans."""
        seconds = table_of(it)
        plans = random_plans(it.space.slots, count, SEED)
        cost, _ = it.meter.cost(Silent())
        return cls(it, rows_of(it, cost, plans), measured(it, plans), seconds)

    @property
    def plans(self) -> list[Plan]:
        """The plans."""
        slots = self.it.space.slots.slots
        return [
            Plan.of((slot.name, slot.choices[k]) for slot, k in zip(slots, row, strict=True))
            for row in self.rows
        ]

    def outcomes(self, *, isolated: bool) -> list[Outcome]:
        """Predictions from the model's own table, and what else is predicted so."""
        cost, _ = self.it.meter.cost(Silent())
        again = measured(self.it, self.plans[:AGAIN])
        found = [
            Outcome.of("table", cost.price(self.rows), self.took),
            Outcome.of("kernels only", node_sums(cost, self.rows), self.took),
            Outcome.of("again", again, self.took[:AGAIN]),
        ]
        if isolated:
            alone = isolated_costs(self.it)[np.arange(self.rows.shape[1]), self.rows].sum(axis=1)
            found.append(Outcome.of("isolated kernels", alone, self.took))
        return found

    def borrowed(self, others: list[Path], folder: Path) -> Outcome:
        """Predictions from a table of other models alone."""
        united = folder / f"without-{self.it.case.name}.sqlite"
        merge_tables(others, united)
        meter = self.it.meter
        with LatencyTable.open(united) as table:
            cost = from_table(
                self.it.space.slots,
                table,
                meter.setting,
                free=meter.writer.dialect.float_outputs,
                profile=load_profile("host"),
            )
        return Outcome.of("borrowed", cost.price(self.rows), self.took)


def family(name: str) -> str:
    """What a model is one of several of: `resnet20_cifar10_v2` and `resnet56_cifar10` are kin."""
    return name.rstrip("0123456789").partition("_")[0].rstrip("0123456789")


def pricing(cost: CostModel) -> tuple[float, float]:
    """Microseconds a plan and 100 slots, and plans a second, priced as one batch."""
    slots = len(cost.graph.slots)
    legal = np.isfinite(cost.node_us).sum(axis=1)
    rows = np.random.default_rng(SEED).integers(0, legal, (PRICED, slots))
    cost.price(rows[:1000])
    started = time.process_time()
    cost.price(rows)
    seconds = time.process_time() - started
    return seconds / PRICED * 1e6 * 100 / slots, PRICED / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="only these")
    parser.add_argument("--plans", type=int, default=PLANS, help="a model [%(default)s]")
    parser.add_argument("--isolated", action="store_true", help="time kernels alone, too (slow)")
    parser.add_argument("--out", type=Path, help="write the figures there as JSON")
    asked = parser.parse_args()
    try:
        chosen = cases(asked.models)
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    head = ("model", "prediction", "median error", "p95", "bias", "Spearman")
    rows: list[tuple[str, ...]] = []
    figures: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="hwc-bench-latency-") as name:
        folder = Path(name)
        studies = []
        for case in chosen:
            it = subject(case, folder / "data", folder / f"{case.name}.sqlite")
            study = Study.of(it, asked.plans)
            studies.append(study)
            us, rate = pricing(it.meter.cost(Silent())[0])
            say(
                f"{case.name}: {len(it.space.slots.slots)} slots, table in {study.seconds:.1f} s, "
                f"{us:.1f} us a plan and 100 slots, {rate:,.0f} plans/s"
            )
            found = study.outcomes(isolated=asked.isolated)
            for outcome in found:
                say("  " + "  ".join(outcome.cells()))
            rows += [(case.name, *outcome.cells()) for outcome in found]
            figures[case.name] = {
                "seconds": study.seconds,
                "plans_per_second": rate,
                "us_per_100_slots": us,
                "outcomes": [asdict(outcome) for outcome in found],
            }
            if asked.out:
                write_json(asked.out, figures)
        for study in studies:  # what others say of a model, once all are there
            model = study.it.case.name
            kin = family(model)
            others = [s.it.meter.path for s in studies if family(s.it.case.name) != kin]
            if len(others) >= FEWEST:
                borrowed = study.borrowed(others, folder)
                rows.append((model, *borrowed.cells()))
                figures[model]["borrowed"] = asdict(borrowed)
    say(markdown(head, rows))
    say(f"borrowed: from {len(studies)} models less the model's own family")
    if asked.out:
        write_json(asked.out, figures)


if __name__ == "__main__":
    main()
