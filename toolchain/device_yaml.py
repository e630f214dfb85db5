"""Device profiles as YAML: every key known, every figure positive, with source and confidence."""

from collections.abc import Callable, Iterable, Mapping

from .device import Confidence, DeviceProfile, ErrorRange, Figure, PowerMode, PowerModel
from .plan import Precision
from .strict_yaml import Table, load_table

BACKENDS = ("ort", "trt", "ascend", "dcu")
EFFICIENCIES = (
    "conv",
    "depthwise",
    "gemm",
    "elementwise",
    "norm",
    "pool",
    "move",
    "recurrent",
    "other",
    "memory",
)
REQUIRED = (
    "name",
    "title",
    "backend",
    "target",
    "sources",
    "units",
    "opset_max",
    "peak",
    "bandwidth",
    "cache",
    "memory",
    "launch",
)
OPTIONAL = (
    "sparse_2_4",
    "cache_bandwidth",
    "clock",
    "grain",
    "power",
    "power_mode",
    "power_modes",
    "efficiency",
    "error",
    "channel_multiple",
)


def parse_profile(data: bytes, file: str) -> DeviceProfile:
    """Read a profile.

    Args:
        data: The YAML text, UTF-8.
        file: What errors call it.

    Raises:
        DeviceError: It is not YAML, or a key or figure is wrong; the message names it.
    """
    top = load_table(data, file)
    top.check(REQUIRED, OPTIONAL)
    sources = top.table("sources")
    figure = _figure_reader({key: sources.text(key) for key in sources.body})
    units, opset = figure(top, "units"), figure(top, "opset_max")
    for key, count in (("units", units), ("opset_max", opset)):
        _whole(top, key, count)
    modes = _power_modes(top, figure)
    profile = DeviceProfile(
        name=_name(top),
        title=top.text("title"),
        backend=top.one_of("backend", BACKENDS),
        target=top.text("target"),
        units=int(units.value),
        opset_max=int(opset.value),
        peak=_by_precision(top, "peak", figure),
        bandwidth=figure(top, "bandwidth"),
        cache=figure(top, "cache"),
        memory=figure(top, "memory"),
        launch=figure(top, "launch"),
        sparse_2_4=figure(top, "sparse_2_4") if "sparse_2_4" in top.body else None,
        power_modes=modes,
        efficiency=_efficiency(top, figure),
        cache_bandwidth=figure(top, "cache_bandwidth") if "cache_bandwidth" in top.body else None,
        clock=figure(top, "clock") if "clock" in top.body else None,
        grain=figure(top, "grain") if "grain" in top.body else None,
        error=_error(top, figure),
        power=_power(top, figure),
        power_mode=top.one_of("power_mode", modes) if modes else "",
        origins={"units": units, "opset_max": opset},
        channel_multiple=_channel_multiple(top, figure),
    )
    _check_mode(top, profile)
    return profile


_FigureReader = Callable[[Table, str], Figure]


def _figure_reader(sources: Mapping[str, str]) -> _FigureReader:
    """A getter for figures, whose sources are keys of the file's `sources`."""

    def read(table: Table, key: str) -> Figure:
        body = table.table(key)
        body.check(("value", "source", "confidence"))
        confidence = Confidence(body.one_of("confidence", list(Confidence)))
        return Figure(body.number("value"), sources[body.one_of("source", sources)], confidence)

    return read


def _figures(
    top: Table, key: str, known: Iterable[str], figure: _FigureReader
) -> dict[str, Figure]:
    """A table of figures whose keys are from a closed set, at least one."""
    table = top.table(key)
    table.check((), known)
    if not table.body:
        raise top.wrong(key, "is empty")
    return {name: figure(table, name) for name in table.body}


def _by_precision(top: Table, key: str, figure: _FigureReader) -> dict[Precision, Figure]:
    """A table of figures whose keys are precisions."""
    return {Precision(p): f for p, f in _figures(top, key, list(Precision), figure).items()}


def _channel_multiple(top: Table, figure: _FigureReader) -> dict[Precision, Figure]:
    """The numbers of channels that kernels like, each whole."""
    if "channel_multiple" not in top.body:
        return {}
    found = _by_precision(top, "channel_multiple", figure)
    for precision, count in found.items():
        _whole(top, f"channel_multiple.{precision}", count)
    return found


def _efficiency(top: Table, figure: _FigureReader) -> dict[str, Figure]:
    """The efficiencies, each a fraction."""
    if "efficiency" not in top.body:
        return {}
    figures = _figures(top, "efficiency", EFFICIENCIES, figure)
    for kind, found in figures.items():
        if found.value > 1:
            raise top.wrong(f"efficiency.{kind}", f"is {found.value:g}, more than the whole peak")
    return figures


def _error(top: Table, figure: _FigureReader) -> ErrorRange | None:
    """The range of measured / estimated, which holds 1 or lies beside it."""
    if "error" not in top.body:
        return None
    table = top.table("error")
    table.check(("low", "high"))
    found = ErrorRange(figure(table, "low"), figure(table, "high"))
    if found.low.value > found.high.value:
        raise top.wrong("error", "has low above high")
    return found


def _power(top: Table, figure: _FigureReader) -> PowerModel | None:
    """The power model: all of it or nothing, with an energy for every precision that runs."""
    if "power" not in top.body:
        return None
    table = top.table("power")
    table.check(("board_watts", "idle_watts", "pj_per_op", "pj_per_byte"))
    table.table("pj_per_op").check(top.table("peak").body)
    found = _figures(table, "pj_per_op", list(Precision), figure)
    model = PowerModel(
        board_watts=figure(table, "board_watts"),
        idle_watts=figure(table, "idle_watts"),
        pj_per_op={Precision(p): f for p, f in found.items()},
        pj_per_byte=figure(table, "pj_per_byte"),
    )
    if model.idle_watts.value >= model.board_watts.value:
        raise table.wrong("idle_watts", "is not below board_watts")
    return model


def _power_modes(top: Table, figure: _FigureReader) -> dict[str, PowerMode]:
    """The power modes, by name; `power_mode` names the one that the profile's figures hold for."""
    if "power_modes" not in top.body:
        if "power_mode" in top.body:
            raise top.wrong("power_mode", "is set, but there are no 'power_modes'")
        return {}
    if "power_mode" not in top.body:
        raise top.wrong("power_mode", "is missing", "name the mode that the figures hold for")
    modes = top.table("power_modes")
    if not modes.body:
        raise top.wrong("power_modes", "is empty")
    return {name: _mode(table, figure) for name, table in modes.tables()}


def _mode(table: Table, figure: _FigureReader) -> PowerMode:
    """One power mode."""
    table.check(("clock", "bandwidth", "units"), ("watts",))
    mode = PowerMode(
        watts=figure(table, "watts") if "watts" in table.body else None,
        clock=figure(table, "clock"),
        bandwidth=figure(table, "bandwidth"),
        units=figure(table, "units"),
    )
    _whole(table, "units", mode.units)
    return mode


def _check_mode(top: Table, profile: DeviceProfile) -> None:
    """The default mode must be the profile itself."""
    if not profile.power_mode:
        return
    mode = profile.power_modes[profile.power_mode]
    if (mode.clock.value, mode.bandwidth.value, mode.units.value) != (1, 1, profile.units):
        what = "is the mode of the profile's own figures"
        hint = f"its clock and bandwidth are 1 and its units {profile.units}"
        raise top.wrong(f"power_modes.{profile.power_mode}", what, hint)


def _name(top: Table) -> str:
    """The profile's name: what is typed after --device and used in file names."""
    name = top.text("name")
    if not name.isascii() or not name.replace("_", "").replace("-", "").isalnum():
        raise top.wrong("name", f"is '{name}'", "use letters, digits, '_' and '-'")
    return name


def _whole(table: Table, key: str, figure: Figure) -> None:
    """Refuse a count that is not a whole number."""
    if not figure.value.is_integer():
        raise table.wrong(key, f"is {figure.value:g}, not a whole number")
