"""The body of `hwc profile check`: measures a sample of a table's builds again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..toolchain.errors import InputError, StaleError
from ..toolchain.latency.drift import Drift, drift
from ..toolchain.latency.measure import measurements
from ..toolchain.latency.observed import build_id, graph_digest, kernel_rows
from ..toolchain.latency.probes import probe_plans
from ..toolchain.latency.rows import MeasuredBuild
from ..toolchain.latency.table import LatencyTable, default_paths
from ..toolchain.latency.timing import Setting
from ..toolchain.plan import Plan
from ..toolchain.progress import Progress
from ..toolchain.slots import SlotGraph
from .measuring import ProfileRequest, ground, open_target
from .stages.price import Meter

SAMPLE = 3  # builds of each model: all fp32, one lower precision, one mixed


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one model's rows.

    Attributes:
        model: As it was named, or as the table has it.
        table: The latency table.
        drift: Now against then.
    """

    model: str
    table: str
    drift: Drift


def check_models(request: ProfileRequest, progress: Progress, sample: int) -> Iterator[Checked]:
    """Measure a sample of what the table holds of each model; the table does not change.

    Where no models are named, those that the table remembers are taken.

    Raises:
        InputError: There is no table, it knows none of the models, or has other versions of them.
        HwcError: As `profile_models`.
    """
    named = request.models or _remembered(request)
    with open_target(replace(request, models=named)) as target:
        for model in named:
            space, meter = ground(request, model, target, progress)
            found = _sample(space.slots, meter, model, sample)
            yield Checked(model, str(meter.path), _measure(space.slots, meter, found, progress))


def require_holding(checked: Sequence[Checked]) -> None:
    """End with an error where a table no longer holds.

    Raises:
        StaleError: One does not; the first is named.
    """
    for it in checked:
        if not it.drift.holds:
            raise StaleError(
                f"latency table {it.table}: {it.drift.verdict}",
                f"run: hwc profile {it.model} --remeasure",
            )


def _remembered(request: ProfileRequest) -> tuple[str, ...]:
    """The models of the table that are still where they were."""
    files = [request.table] if request.table else default_paths(request.device)
    paths: dict[str, None] = {}
    for file in files:
        with LatencyTable.open(file) as table:
            paths |= {row.path: None for s in table.settings() for row in table.builds(s)}
    there = tuple(path for path in paths if Path(path).is_file())
    if not there:
        known = ", ".join(map(str, files)) or f"of {request.device} yet"
        raise InputError(
            f"no latency table {known} with a model that is still there",
            "name the models, or measure: hwc profile MODEL",
        )
    return there


def _sample(
    slots: SlotGraph, meter: Meter, model: str, sample: int
) -> list[tuple[Plan, MeasuredBuild]]:
    """Builds of the model that the table holds, the all-fp32 one first."""
    digest = graph_digest(slots)
    with LatencyTable.open(meter.path) as table:
        _same_runtime(table, meter.setting)
        all_of_them = table.observations(meter.setting)
    known = {build.build.id: build for build in all_of_them if build.build.model == digest}
    pairs = ((plan, known.get(build_id(slots, plan))) for plan in probe_plans(slots))
    wanted = [(plan, build) for plan, build in pairs if build is not None]
    if not wanted:
        raise InputError(
            f"latency table {meter.path}: does not hold {model} as it is now",
            f"run: hwc profile {model}",
        )
    return wanted[:sample]


def _same_runtime(table: LatencyTable, setting: Setting) -> None:
    """Refuse to compare with a table that was measured on something else."""
    settings = table.settings()
    if setting in settings:
        return
    have = "; ".join(f"{s.device}, {s.runtime} {s.version}, {s.threads} threads" for s in settings)
    raise InputError(
        f"latency table {table.path}: holds {have or 'nothing'}, and here is {setting.device}, "
        f"{setting.runtime} {setting.version}, {setting.threads} threads",
        "measure anew: hwc profile MODEL",
    )


def _measure(
    slots: SlotGraph,
    meter: Meter,
    found: Sequence[tuple[Plan, MeasuredBuild]],
    progress: Progress,
) -> Drift:
    """Measure builds now; the first says how fast the machine is, and is what others scale to."""
    pairs = []
    plans = [plan for plan, _ in found]
    now = measurements(slots, plans=plans, write=meter.writer.write, time_builds=meter.time_builds)
    with progress.stage("measure a sample again", len(plans)) as step:
        for (_, then), measured in zip(found, now, strict=True):
            rows = kernel_rows(slots, measured, meter.setting)
            pairs.append((then, measured.total_us, rows))
            step()
    return drift(pairs)
