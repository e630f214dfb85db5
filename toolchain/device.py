"""A device: what it can compute, how fast, and who says so."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib import resources
from pathlib import Path

from .errors import DeviceError
from .plan import Precision

HOST = "host"

ALIASES: Mapping[str, str] = {
    "a100": "a100_sxm_40gb",  # the smallest memory and bandwidth of the family
    "jetson_orin": "jetson_agx_orin",
    "ascend": "ascend_310p",
    "dcu": "dcu_k100_ai",
}


class Confidence(StrEnum):
    """How far a figure can be trusted, the best first."""

    MEASURED = "measured"
    DATASHEET = "datasheet"
    DERIVED = "derived"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number about a device, with who says so."""

    value: float
    source: str
    confidence: Confidence

    def times(self, factor: float, why: "Figure", how: str) -> "Figure":
        """This figure scaled by `factor`; it is trusted no more than `why`, which scales it.

        Args:
            factor: What to multiply the value with.
            why: The figure that the factor comes from.
            how: A few words for the source, such as `in mode 30W`.
        """
        if factor == 1.0:
            return self
        ranks = list(Confidence)
        rank = max(ranks.index(c) for c in (self.confidence, why.confidence, Confidence.DERIVED))
        source = f"{self.source}; x {factor:.3g} {how}: {why.source}"
        return Figure(self.value * factor, source, ranks[rank])


@dataclass(frozen=True, slots=True)
class PowerMode:
    """One power mode of a device; the profile's own figures hold for the default mode.

    Attributes:
        watts: The mode's power budget, in watts; None where the mode has no fixed budget.
        clock: Compute clock as a fraction of the profile's.
        bandwidth: Memory bandwidth as a fraction of the profile's.
        units: Compute units (SMs, cores) that are on.
    """

    watts: Figure | None
    clock: Figure
    bandwidth: Figure
    units: Figure


@dataclass(frozen=True, slots=True)
class PowerModel:
    """What energy goes into: time, arithmetic and bytes from memory.

    Attributes:
        board_watts: What the whole device may draw, where its power mode has no budget of its own.
        idle_watts: What it draws while it waits.
        pj_per_op: Picojoules of one operation of each precision (a multiply-accumulate is two).
        pj_per_byte: Picojoules of one byte from or to memory.
    """

    board_watts: Figure
    idle_watts: Figure
    pj_per_op: Mapping[Precision, Figure]
    pj_per_byte: Figure


@dataclass(frozen=True, slots=True)
class ErrorRange:
    """How far measured latencies lay from the estimates: measured / estimated.

    Attributes:
        low: The lowest ratio that was seen, or is feared.
        high: The highest.
    """

    low: Figure
    high: Figure


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A device profile.

    Attributes:
        name: The profile's own name, such as `jetson_agx_orin`.
        title: What a person calls the device.
        backend: The backend that serves it: `ort`, `trt`, `ascend` or `dcu`.
        target: What engines are built for: `sm80`, `Ascend310P3`, `gfx906`, `x86_64+avx512_vnni`.
        units: Compute units: SMs, AI cores, CUs or CPU cores.
        opset_max: The highest opset of the default domain that the device's runtime reads.
        peak: Dense peak of each precision that *runs*, in Tera-operations per second
            (a multiply and an add are two operations).
        bandwidth: Memory bandwidth, in GB/s.
        cache: Last-level cache, in MiB.
        memory: Device memory, in GiB.
        launch: Cost of starting one kernel, in microseconds.
        sparse_2_4: Factor on the peak where 2:4 sparsity runs; None where it does not.
        power_modes: By name.
        efficiency: Fraction of the peak (by operator class) and of the bandwidth (`memory`) that
            real kernels reach, as the estimator uses it.
        cache_bandwidth: Bandwidth of the last-level cache, in GB/s; None where nobody says.
        clock: Compute clock that the peaks hold for, in MHz; None where nobody says.
        grain: Output elements that keep one compute unit busy; a kernel with fewer than
            `grain * units` leaves units idle.
        error: How wrong estimates for this device are; None where nothing is known.
        power: Where its energy goes; None where nobody says.
        channel_multiple: Of how many channels its kernels of a precision work at a time.
        power_mode: The power mode that the figures hold for; empty where there are none.
        origins: Who says so for the whole numbers `units` and `opset_max`.
    """

    name: str
    title: str
    backend: str
    target: str
    units: int
    opset_max: int
    peak: Mapping[Precision, Figure]
    bandwidth: Figure
    cache: Figure
    memory: Figure
    launch: Figure
    sparse_2_4: Figure | None = None
    power_modes: Mapping[str, PowerMode] = field(default_factory=dict)
    efficiency: Mapping[str, Figure] = field(default_factory=dict)
    cache_bandwidth: Figure | None = None
    clock: Figure | None = None
    grain: Figure | None = None
    error: ErrorRange | None = None
    power: PowerModel | None = None
    power_mode: str = ""
    origins: Mapping[str, Figure] = field(default_factory=dict)
    channel_multiple: Mapping[Precision, Figure] = field(default_factory=dict)

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """The precisions that run on the device."""
        return tuple(self.peak)

    @property
    def budget(self) -> Figure | None:
        """What the device may draw in its power mode, in watts; None where nobody says."""
        mode = self.power_modes.get(self.power_mode)
        if mode and mode.watts:
            return mode.watts
        return self.power.board_watts if self.power else None

    def in_mode(self, name: str) -> "DeviceProfile":
        """This device in another power mode: units, peaks, bandwidth and launch cost scaled.

        Raises:
            DeviceError: The device has no such mode.
        """
        if name not in self.power_modes:
            hint = nearest(name, self.power_modes)
            raise DeviceError(f"{self.name} has no power mode '{name}'", hint)
        if name == self.power_mode:
            return self
        now, then = self.power_modes[self.power_mode], self.power_modes[name]
        clock = then.clock.value / now.clock.value
        compute = clock * then.units.value / now.units.value
        how = f"in mode {name}"
        return replace(
            self,
            units=int(then.units.value),
            peak={p: f.times(compute, then.clock, how) for p, f in self.peak.items()},
            bandwidth=self.bandwidth.times(
                then.bandwidth.value / now.bandwidth.value, then.bandwidth, how
            ),
            launch=self.launch.times(1 / clock, then.clock, how),
            cache_bandwidth=self.cache_bandwidth
            and self.cache_bandwidth.times(clock, then.clock, how),
            clock=self.clock and self.clock.times(clock, then.clock, how),
            power_mode=name,
            origins={**self.origins, "units": then.units},
        )

    def figures(self) -> Iterator[tuple[str, str, Figure]]:
        """Every figure of the profile, as (name, unit, figure)."""
        yield from ((key, "", figure) for key, figure in self.origins.items())
        yield from ((f"peak.{p}", "Tera-op/s", figure) for p, figure in self.peak.items())
        yield from self._scalars()
        yield from (
            (f"channel_multiple.{p}", "channels", f) for p, f in self.channel_multiple.items()
        )
        yield from ((f"efficiency.{kind}", "", figure) for kind, figure in self.efficiency.items())
        if self.error:
            yield "error.low", "measured/estimated", self.error.low
            yield "error.high", "measured/estimated", self.error.high
        yield from self._power_figures()
        for name, mode in self.power_modes.items():
            if mode.watts:
                yield f"power_modes.{name}.watts", "W", mode.watts
            yield f"power_modes.{name}.clock", "of the profile's", mode.clock
            yield f"power_modes.{name}.bandwidth", "of the profile's", mode.bandwidth
            yield f"power_modes.{name}.units", "", mode.units

    def _power_figures(self) -> Iterator[tuple[str, str, Figure]]:
        """The figures of the power model."""
        if self.power:
            yield "power.board_watts", "W", self.power.board_watts
            yield "power.idle_watts", "W", self.power.idle_watts
            for precision, figure in self.power.pj_per_op.items():
                yield f"power.pj_per_op.{precision}", "pJ/op", figure
            yield "power.pj_per_byte", "pJ/byte", self.power.pj_per_byte

    def _scalars(self) -> Iterator[tuple[str, str, Figure]]:
        """The single figures that the profile has."""
        scalars = (
            ("clock", "MHz", self.clock),
            ("bandwidth", "GB/s", self.bandwidth),
            ("cache", "MiB", self.cache),
            ("cache_bandwidth", "GB/s", self.cache_bandwidth),
            ("memory", "GiB", self.memory),
            ("launch", "us", self.launch),
            ("sparse_2_4", "x", self.sparse_2_4),
            ("grain", "elements", self.grain),
        )
        yield from ((name, unit, figure) for name, unit, figure in scalars if figure)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A profile, and the name or path that it was asked for by."""

    profile: DeviceProfile
    asked: str

    @property
    def note(self) -> str:
        """One line for the user where a short name was resolved; otherwise empty."""
        if self.asked not in ALIASES:
            return ""
        return f"{self.asked} is {self.profile.name} ({self.profile.title})"


def profile_names() -> tuple[str, ...]:
    """The names of all profiles: `host`, then those that come with hwc, in order."""
    files = resources.files("hwc.device_profiles").iterdir()
    return (HOST, *sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or all of them."""
    words = list(known)
    begins = [known_word for known_word in words if word and known_word.startswith(word)]
    close = sorted(begins, key=len) or difflib.get_close_matches(
        word.lower(), words, n=1, cutoff=0.5
    )
    mean = f"did you mean '{close[0]}'? " if close else ""
    return f"{mean}known: {', '.join(words) or 'none'}"


def resolve(name_or_path: str | Path) -> Resolved:
    """Find the profile of a device name, a short name or a YAML file.

    Raises:
        DeviceError: No such device or file, or its profile is not valid.
    """
    # They build on the types above, and YAML is only needed once a device is asked for.
    from .device_yaml import parse_profile  # noqa: PLC0415
    from .host import detect  # noqa: PLC0415
    from .host_profile import host_profile  # noqa: PLC0415
    from .strict_yaml import read_limited  # noqa: PLC0415

    asked = str(name_or_path)
    if isinstance(name_or_path, Path) or asked.endswith((".yaml", ".yml")) or "/" in asked:
        profile = parse_profile(read_limited(Path(asked)), asked)
        if profile.name in profile_names():
            hint = "give the board a name of its own: tables are kept by name"
            raise DeviceError(f"{asked}: the name '{profile.name}' is one of hwc's own", hint)
        return Resolved(profile, asked)
    name = ALIASES.get(asked, asked)
    if name == HOST:
        return Resolved(host_profile(detect()), asked)
    if name not in profile_names():
        hint = nearest(asked, (*profile_names(), *ALIASES))
        raise DeviceError(f"unknown device '{asked}'", f"{hint}, or a profile's .yaml file")
    data = resources.files("hwc.device_profiles").joinpath(f"{name}.yaml").read_bytes()
    return Resolved(parse_profile(data, f"{name}.yaml"), asked)


def load_profile(name_or_path: str | Path) -> DeviceProfile:
    """The profile of a device name, a short name or a YAML file; `resolve` also says which.

    Raises:
        DeviceError: No such device or file, or its profile is not valid.
    """
    return resolve(name_or_path).profile
