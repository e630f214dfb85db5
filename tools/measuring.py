"""The body of `hwc profile`: measures the kernels of models in place, and checks what is known."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from ..backends.ort import Ort
from ..backends.remote_ort import RemoteOrt
from ..backends.ssh_address import Address
from ..toolchain.device import DeviceProfile
from ..toolchain.engine import Feeds, TimedBuild
from ..toolchain.errors import DeviceError, InputError
from ..toolchain.host_profile import host_profile
from ..toolchain.latency.probes import MIXED_PROFILE, held_out, probe_plans
from ..toolchain.latency.table import LatencyTable, Mode
from ..toolchain.plan import Plan
from ..toolchain.progress import Progress
from .request import Request
from .stages.decide import PlanSpace, find_meter, find_space
from .stages.prepare import prepare
from .stages.price import Meter
from .stages.target import Target, find_target

CHECKS = 3  # plans of each model that are measured only to be compared with their price


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """What is to be measured.

    Attributes:
        models: What `hwc compile` takes as a model, each.
        device: A device, or what the table calls the machine at `address`.
        address: `ssh://[user@]host[:port]` of another machine; None: this one.
        power_mode: A power mode of the device; empty: its default.
        threads: Threads of one inference.
        table: The latency table; None: the one of this device and runtime in the user's cache.
        probes: Mixed builds of each model beside the uniform ones.
        checks: Plans of each model that are predicted, and measured only to say how well.
        remeasure: Replace what the table holds of these models.
        data: Samples to calibrate on; empty: random numbers, which time the same.
        inputs: Fixed input shapes by name.
    """

    models: tuple[str, ...]
    device: str = "host"
    address: str | None = None
    power_mode: str = ""
    threads: int = 1
    table: Path | None = None
    probes: int = MIXED_PROFILE
    checks: int = CHECKS
    remeasure: bool = False
    data: str = ""
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def of(self, model: str) -> Request:
        """The compilation whose kernels are measured."""
        return Request(
            model,
            device=self.device,
            power_mode=self.power_mode,
            data=self.data,
            inputs=self.inputs,
            table=self.table,
            random_calibration=not self.data,
        )


@dataclass(frozen=True, slots=True)
class Profiled:
    """What was measured of one model.

    Attributes:
        model: As it was named.
        table: The latency table.
        slots: Kernels that may be chosen for.
        rows: Kernels and choices of them in the table.
        builds: Builds that were measured now.
        known: Builds that the table held already.
        error: Relative error of predictions for plans that are not in the table, at most; None
            where none was checked.
        checked: How many they were.
        notes: What the user should know.
    """

    model: str
    table: str
    slots: int
    rows: int
    builds: int
    known: int
    error: float | None
    checked: int
    notes: tuple[str, ...] = ()


def profile_models(request: ProfileRequest, progress: Progress) -> Iterator[Profiled]:
    """Measure models one after the other; each build is in the table as soon as it is done.

    Raises:
        HwcError: A model cannot be used, the device cannot be measured from here, or the table
            cannot be written; what was measured stays.
    """
    with open_target(request) as target:
        for model in request.models:
            yield _profile(request, model, target, progress)


def _profile(request: ProfileRequest, model: str, target: Target, progress: Progress) -> Profiled:
    space, meter = ground(request, model, target, progress)
    probes = probe_plans(space.slots, request.probes)
    with LatencyTable.open(meter.path, Mode.WRITE) as table:
        measured = meter.measure(table, probes, progress, again=request.remeasure)
        keys = {slot.key for slot in space.slots.slots}
        rows = sum(row.key in keys for row in table.kernels(meter.setting))
    plans = held_out(space.slots, request.checks if measured else 0)
    errors = list(_errors(meter, space, plans, progress))
    return Profiled(
        model,
        str(meter.path),
        slots=len(space.slots.slots),
        rows=rows,
        builds=measured,
        known=len(probes) - measured,
        error=max(errors, default=None),
        checked=len(errors),
        notes=target.notes,
    )


def _errors(
    meter: Meter, space: PlanSpace, plans: Sequence[Plan], progress: Progress
) -> Iterator[float]:
    """How far predictions are from what the plans take, as fractions."""
    if not plans:
        return
    cost, _ = meter.cost(progress)
    with progress.stage("predict plans and measure them", len(plans)) as step:
        for plan in plans:
            chosen = plan.as_dict()
            row = [slot.choices.index(chosen[slot.name]) for slot in space.slots.slots]
            predicted = float(cost.price(np.array([row], np.intp))[0])
            yield abs(predicted / meter.one(plan).total_us - 1.0)
            step()


def ground(
    request: ProfileRequest, model: str, target: Target, progress: Progress
) -> tuple[PlanSpace, Meter]:
    """The model's slots, and what measures them."""
    asked = request.of(model)
    prepared = prepare(asked, target, progress)
    space = find_space(asked, target, prepared, progress)
    meter = find_meter(asked, target, prepared, space.writer, request.threads)
    if meter is None:
        raise InputError(f"{model}: nothing to choose, so nothing to measure", "name another model")
    return space, meter


@contextmanager
def open_target(request: ProfileRequest) -> Iterator[Target]:
    """The device to measure: this machine, or one that ssh reaches."""
    if request.address is None:
        target = find_target(request.of(request.models[0]))
        if target.runtime is None:
            raise DeviceError(
                f"{target.profile.name} cannot be measured from here",
                "run hwc profile on it, or give --on ssh://user@host, or --from-trtexec",
            )
        yield target
        return
    with RemoteOrt(Address.parse(request.address)) as remote:
        profile = _named(host_profile(remote.hello.host), request, remote.address.host)
        backend = Ort()
        yield Target(
            profile,
            backend,
            backend.dialect(profile),
            here=False,
            runtime=OrtThere(remote),
            notes=remote.notes,
        )


def _named(profile: DeviceProfile, request: ProfileRequest, host: str) -> DeviceProfile:
    """The other machine's profile, under the name that its table goes by."""
    name = host if request.device == "host" else request.device
    return replace(profile, name=name, title=f"{name}: {profile.title.partition(': ')[2]}")


class OrtThere:
    """ONNX Runtime's CPU provider on another machine."""

    def __init__(self, remote: RemoteOrt) -> None:
        self._remote = remote

    @property
    def version(self) -> str:
        """The onnxruntime that is installed there."""
        return self._remote.hello.version

    def time_builds(
        self, models: Sequence[ir.Model], feeds: Feeds, *, runs: int, threads: int
    ) -> list[TimedBuild]:
        """Time several graphs there."""
        return self._remote.time_builds(models, feeds, runs=runs, threads=threads)

    def running_graph(self, model: ir.Model, feeds: Feeds) -> ir.Graph:
        """The graph that runs there."""
        return self._remote.running_graph(model, feeds)
