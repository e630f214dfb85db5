"""Runs the plans of a search on the machines of a Ray cluster."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from ...backends import ort
from ...passes.apply import PlanWriter
from ...toolchain.accuracy.blocks import BlockRunner
from ...toolchain.accuracy.cluster_judge import PlanCrew, plan_crew
from ...toolchain.calibration import Range
from ...toolchain.cluster import Cluster
from ...toolchain.dialect import Dialect
from ...toolchain.frontend.parcel import Parcel
from ...toolchain.slots import SlotGraph


@dataclass(frozen=True, slots=True)
class Kit:
    """All that a worker needs to run plans of one model.

    Attributes:
        parcel: The model after the graph passes.
        slots: Its slots.
        dialect: How plans are written.
        ranges: The range of each tensor.
    """

    parcel: Parcel
    slots: SlotGraph
    dialect: Dialect
    ranges: Mapping[str, Range]

    @classmethod
    def of(cls, writer: PlanWriter) -> Self:
        """Take a writer apart."""
        return cls(Parcel.of(writer.model), writer.slots, writer.dialect, dict(writer.ranges))

    def __call__(self) -> BlockRunner:
        """Runs plans on one thread, each as if it were the only one."""
        writer = PlanWriter(
            self.parcel.open(), self.slots, dialect=self.dialect, ranges=self.ranges
        )
        options = ort.Options(1, integers=self.dialect.name == ort.Ort.name, arena=False)
        return BlockRunner(writer, lambda model: ort.Session(model, options), steady=True)


@contextmanager
def connected(address: str) -> Iterator[Cluster | None]:
    """A cluster while it is needed; none where there is no address.

    Raises:
        UsageError: Ray is not installed, or no cluster answers there.
    """
    if not address:
        yield None
        return
    with Cluster(address) as cluster:
        yield cluster


@contextmanager
def crew(
    cluster: Cluster | None, simulator: PlanWriter, told: Callable[[str], None]
) -> Iterator[PlanCrew | None]:
    """Workers that run plans of one model while they are needed; none without a cluster."""
    if cluster is None:
        yield None
        return
    workers = crew_of(cluster, simulator, told)
    try:
        yield workers
    finally:
        workers.close()


def crew_of(
    cluster: Cluster,
    simulator: PlanWriter,
    told: Callable[[str], None] = lambda _: None,
    *,
    workers: int | None = None,
) -> PlanCrew:
    """Workers on a cluster that run plans of one model, a CPU each; for `ClusterJudge`.

    Args:
        cluster: Where.
        simulator: Writes plans so that a CPU computes what the device would.
        told: Told of workers that were lost.
        workers: How many there are; None: as many as CPUs.
    """
    return plan_crew(cluster, Kit.of(simulator), told=told, workers=workers)
