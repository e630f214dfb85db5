"""What plans take: rows of the latency table, measured first where the device is at hand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...passes.apply import PlanWriter
from ...toolchain.engine import TimeBuilds
from ...toolchain.latency import build_cost
from ...toolchain.latency.cost import CostModel
from ...toolchain.latency.measure import Measurement, measurements
from ...toolchain.latency.observed import anchor_us, build_id, graph_digest, lacking, store
from ...toolchain.latency.probes import probe_plans
from ...toolchain.latency.table import LatencyTable, Mode
from ...toolchain.latency.timing import Setting
from ...toolchain.plan import Plan
from ...toolchain.progress import Progress

RUNS = 24  # runs of each build that is measured
THREADS = 1  # kernels are timed on one thread: that is what their sum is about


@dataclass(frozen=True, slots=True)
class Meter:
    """Measures builds of one model on a device that is at hand, and keeps what it measured.

    Attributes:
        path: The latency table.
        setting: What its times hold for.
        model: Where the model lies, which the table remembers.
        writer: Writes plans.
        time_builds: Times several graphs in turns, on the device.
    """

    path: Path
    setting: Setting
    model: str
    writer: PlanWriter
    time_builds: TimeBuilds

    def cost(self, progress: Progress, *, again: bool = False) -> tuple[CostModel, bool]:
        """The cost model of measured rows; measures what the table lacks.

        Args:
            progress: Told of each build.
            again: Replace what the table holds of this model.

        Returns:
            The cost model, and whether something was measured for it just now.
        """
        if not again and (known := self.known()) is not None:
            return known, False
        with LatencyTable.open(self.path, Mode.WRITE) as table:
            measured = self.measure(table, probe_plans(self.writer.slots), progress, again=again)
            return self.priced(table), measured > 0

    def known(self) -> CostModel | None:
        """The cost model of rows that are measured already; None where one is lacking."""
        if not self.path.exists():
            return None
        with LatencyTable.open(self.path) as table:
            covered = build_cost.covers(table, self.setting, self.writer.slots)
            return self.priced(table) if covered else None

    def measure(
        self,
        table: LatencyTable,
        plans: Sequence[Plan],
        progress: Progress,
        *,
        again: bool = False,
    ) -> int:
        """Measure those of the plans that the table lacks; how many they were.

        Args:
            table: Where to; each build is in it as soon as it is done.
            plans: What to build, the all-fp32 plan first.
            progress: Told of each build.
            again: Measure all of them, each in the place of what the table held of it, and at last
                take this model's other builds out.
        """
        slots = self.writer.slots
        wanted = list(plans) if again else lacking(table, self.setting, slots, plans)
        if not wanted:
            return 0
        anchor = None if again else anchor_us(table, self.setting, slots)
        with progress.stage("measure kernels in place", len(wanted)) as step:
            for found in self._measurements(wanted, anchor):
                store(table, self.setting, slots, found, path=self.model)
                step()
        if again:
            self._forget_but(table, wanted)
        return len(wanted)

    def _forget_but(self, table: LatencyTable, plans: Sequence[Plan]) -> None:
        """Take this model's builds of other plans out of the table."""
        model = graph_digest(self.writer.slots)
        ids = {build_id(self.writer.slots, plan) for plan in plans}
        old = [row.id for row in table.builds(self.setting) if row.model == model]
        table.forget(self.setting, [build for build in old if build not in ids])

    def one(self, plan: Plan) -> Measurement:
        """One plan, measured now; the table does not change."""
        with LatencyTable.open(self.path) as table:
            anchor = anchor_us(table, self.setting, self.writer.slots)
        return next(self._measurements([plan], anchor))

    def _measurements(self, plans: Sequence[Plan], anchor: float | None) -> Iterator[Measurement]:
        return measurements(
            self.writer.slots,
            plans=plans,
            write=self.writer.write,
            time_builds=self.time_builds,
            anchor_us=anchor,
        )

    def priced(self, table: LatencyTable) -> CostModel:
        """The cost model of what a table holds."""
        free = self.writer.dialect.float_outputs
        return build_cost.from_table(self.writer.slots, table, self.setting, free=free)
