"""What a latency table holds, read as a whole, and its rows as names with units."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from ...toolchain.latency.rows import BoundaryRow, BuildRow, KernelRow
from ...toolchain.latency.table import LatencyTable
from ...toolchain.latency.timing import Setting, Timing
from ...toolchain.plan import Plan

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contents:
    """What a table holds of one setting.

    Attributes:
        setting: What the times hold for.
        builds: The builds that were measured.
        kernels: One row a kernel and choice, over all builds.
        boundaries: One row a change of format and size, over all builds.
    """

    setting: Setting
    builds: tuple[BuildRow, ...]
    kernels: tuple[KernelRow, ...]
    boundaries: tuple[BoundaryRow, ...]

    @property
    def rows(self) -> tuple[KernelRow | BoundaryRow, ...]:
        """Kernels, then boundaries."""
        return (*self.kernels, *self.boundaries)

    def longest_first(self) -> Self:
        """The rows by their time."""
        return replace(
            self,
            kernels=tuple(sorted(self.kernels, key=_shortness)),
            boundaries=tuple(sorted(self.boundaries, key=_shortness)),
        )

    def matching(self, text: str) -> Self:
        """The rows whose key, choice or formats contain a text, in whatever case."""
        wanted = text.casefold()
        return replace(
            self,
            kernels=tuple(k for k in self.kernels if wanted in f"{k.key} {k.choice}".casefold()),
            boundaries=tuple(b for b in self.boundaries if wanted in f"{b.before} to {b.after}"),
        )


def read_contents(path: Path) -> list[Contents]:
    """Read a table, every row of it.

    Raises:
        InputError: There is no table, or something in it is not valid.
    """
    with LatencyTable.open(path) as table:
        return [
            Contents(
                setting,
                table.builds(setting),
                tuple(table.kernels(setting)),
                tuple(table.boundaries(setting)),
            )
            for setting in table.settings()
        ]


def setting_fields(setting: Setting) -> Fields:
    """A setting by names."""
    return {
        "device": setting.device,
        "power_mode": setting.power_mode,
        "runtime": setting.runtime,
        "runtime_version": setting.version,
        "threads": setting.threads,
    }


def row_fields(row: KernelRow | BoundaryRow) -> Fields:
    """A row by names that say the unit."""
    return {**identity_fields(row), **_work_fields(row), **_timing_fields(row.timing)}


def identity_fields(row: KernelRow | BoundaryRow) -> Fields:
    """What tells a row from the others of its setting."""
    if isinstance(row, KernelRow):
        return {"key": row.key, "choice": row.choice}
    return {"before": row.before.value, "after": row.after.value, "elements": row.elements}


def table_fields(contents: list[Contents]) -> Iterator[Fields]:
    """Every setting with its rows."""
    for part in contents:
        yield {
            **setting_fields(part.setting),
            "builds": len(part.builds),
            "kernels": [row_fields(row) for row in part.kernels],
            "boundaries": [row_fields(row) for row in part.boundaries],
        }


def builds_fields(contents: list[Contents]) -> Iterator[Fields]:
    """Every setting with its builds.

    Raises:
        InputError: What a build has for a plan is none.
    """
    for part in contents:
        yield {**setting_fields(part.setting), "builds": [_build_fields(b) for b in part.builds]}


def _build_fields(build: BuildRow) -> Fields:
    return {
        "build": build.id,
        "model": build.model,
        "path": build.path,
        "precisions": Plan.from_json(build.plan).counts(),
        "total_us": build.total_us,
        "runs": build.runs,
        "date": build.date,
    }


def _shortness(row: KernelRow | BoundaryRow) -> float:
    return -row.timing.median_us


def _work_fields(row: KernelRow | BoundaryRow) -> Fields:
    if isinstance(row, BoundaryRow):
        return {}
    work = row.work
    return {
        "kind": row.kind,
        "macs": work.macs,
        "weight_elements": work.weights,
        "read_elements": work.reads,
        "written_elements": work.writes,
    }


def _timing_fields(timing: Timing) -> Fields:
    return {
        "median_us": timing.median_us,
        "p10_us": timing.p10_us,
        "p90_us": timing.p90_us,
        "runs": timing.runs,
        "cpu_us": timing.cpu_us,
        "date": timing.date,
        "source": timing.source.value,
    }
