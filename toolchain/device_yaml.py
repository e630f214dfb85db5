"""Device profiles as YAML: every key known, every figure positive, with source and confidence."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .device import Confidence, DeviceProfile, ErrorRange, Figure, PowerMode, nearest
from .errors import DeviceError
from .plan import Precision

MAX_BYTES = 64 * 1024
MAX_DEPTH = 8
MAX_TEXT = 400
LEAST, MOST = 1e-6, 1e9  # a figure outside is a slip of the pen, whatever its unit

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
    "power_mode",
    "power_modes",
    "efficiency",
    "error",
)


@dataclass(frozen=True, slots=True)
class _Table:
    """One mapping of the file: checked keys, and getters whose errors name file and key."""

    file: str
    path: str
    body: Mapping[str, Any]

    def at(self, key: str) -> str:
        """The key as the user finds it: `peak.fp32`."""
        return f"{self.path}.{key}" if self.path else key

    def wrong(self, key: str, what: str, hint: str = "") -> DeviceError:
        """The error for a key of this table."""
        return DeviceError(f"{self.file}: '{self.at(key)}' {what}", hint)

    def check(self, required: Iterable[str], optional: Iterable[str] = ()) -> None:
        """Refuse unknown and missing keys."""
        known = (*required, *optional)
        for key in self.body:
            if key not in known:
                raise self.wrong(key, "is not a key of a device profile", nearest(key, known))
        for key in required:
            if key not in self.body:
                raise self.wrong(key, "is missing")

    def text(self, key: str) -> str:
        """A line of printable text."""
        value = self.body[key]
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(key, f"is {_say(value)}, not text")
        if not value.isprintable() or len(value) > MAX_TEXT:
            raise self.wrong(key, f"is not one printable line of at most {MAX_TEXT} characters")
        return value

    def one_of(self, key: str, known: Iterable[str]) -> str:
        """One word of a closed set."""
        value = self.text(key)
        if value not in tuple(known):
            raise self.wrong(key, f"is '{value}'", nearest(value, known))
        return value

    def number(self, key: str) -> float:
        """A positive, finite number."""
        value = self.body[key]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key, f"is {_say(value)}, not a number")
        if not LEAST <= value <= MOST:  # NaN fails too
            shown = value if math.isnan(value) or abs(value) < math.inf else "infinite"
            raise self.wrong(key, f"is {shown:.20}, not a number between {LEAST:g} and {MOST:g}")
        return float(value)

    def table(self, key: str) -> "_Table":
        """A mapping below this one."""
        return _table(self.file, self.at(key), self.body[key])

    def tables(self) -> "Iterable[tuple[str, _Table]]":
        """All mappings below this one, by key."""
        return [(key, self.table(key)) for key in self.body]


def read_limited(path: Path) -> bytes:
    """The bytes of a profile file.

    Raises:
        DeviceError: The file is missing, not a regular file, not readable or too large.
    """
    try:
        if not path.is_file():  # a pipe would block
            reason = "is not a file" if path.exists() else "does not exist"
            raise DeviceError(f"device profile {path} {reason}")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as cause:
        raise DeviceError(f"device profile {path} cannot be read: {cause.strerror}") from cause
    if len(data) > MAX_BYTES:
        raise DeviceError(f"device profile {path} is larger than {MAX_BYTES // 1024} KiB")
    return data


def parse_profile(data: bytes, file: str) -> DeviceProfile:
    """Read a profile.

    Args:
        data: The YAML text, UTF-8.
        file: What errors call it.

    Raises:
        DeviceError: It is not YAML, or a key or figure is wrong; the message names it.
    """
    top = _table(file, "", _load(data, file))
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
        peak={Precision(p): f for p, f in _figures(top, "peak", list(Precision), figure).items()},
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
        power_mode=top.one_of("power_mode", modes) if modes else "",
        origins={"units": units, "opset_max": opset},
    )
    _check_mode(top, profile)
    return profile


_FigureReader = Callable[[_Table, str], Figure]


def _figure_reader(sources: Mapping[str, str]) -> _FigureReader:
    """A getter for figures, whose sources are keys of the file's `sources`."""

    def read(table: _Table, key: str) -> Figure:
        body = table.table(key)
        body.check(("value", "source", "confidence"))
        confidence = Confidence(body.one_of("confidence", list(Confidence)))
        return Figure(body.number("value"), sources[body.one_of("source", sources)], confidence)

    return read


def _figures(
    top: _Table, key: str, known: Iterable[str], figure: _FigureReader
) -> dict[str, Figure]:
    """A table of figures whose keys are from a closed set, at least one."""
    table = top.table(key)
    table.check((), known)
    if not table.body:
        raise top.wrong(key, "is empty")
    return {name: figure(table, name) for name in table.body}


def _efficiency(top: _Table, figure: _FigureReader) -> dict[str, Figure]:
    """The efficiencies, each a fraction."""
    if "efficiency" not in top.body:
        return {}
    figures = _figures(top, "efficiency", EFFICIENCIES, figure)
    for kind, found in figures.items():
        if found.value > 1:
            raise top.wrong(f"efficiency.{kind}", f"is {found.value:g}, more than the whole peak")
    return figures


def _error(top: _Table, figure: _FigureReader) -> ErrorRange | None:
    """The range of measured / estimated, which holds 1 or lies beside it."""
    if "error" not in top.body:
        return None
    table = top.table("error")
    table.check(("low", "high"))
    found = ErrorRange(figure(table, "low"), figure(table, "high"))
    if found.low.value > found.high.value:
        raise top.wrong("error", "has low above high")
    return found


def _power_modes(top: _Table, figure: _FigureReader) -> dict[str, PowerMode]:
    """The power modes, by name; `power_mode` names the one that the profile's figures hold for."""
    if "power_modes" not in top.body:
        if "power_mode" in top.body:
            raise top.wrong("power_mode", "is set, but there are no 'power_modes'")
        return {}
    if "power_mode" not in top.body:
        raise top.wrong("power_mode", "is missing", "name the mode that the figures hold for")
    return {name: _mode(table, figure) for name, table in top.table("power_modes").tables()}


def _mode(table: _Table, figure: _FigureReader) -> PowerMode:
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


def _check_mode(top: _Table, profile: DeviceProfile) -> None:
    """The default mode must be the profile itself."""
    if not profile.power_mode:
        return
    mode = profile.power_modes[profile.power_mode]
    if (mode.clock.value, mode.bandwidth.value, mode.units.value) != (1, 1, profile.units):
        what = "is the mode of the profile's own figures"
        hint = f"its clock and bandwidth are 1 and its units {profile.units}"
        raise top.wrong(f"power_modes.{profile.power_mode}", what, hint)


def _name(top: _Table) -> str:
    """The profile's name: what is typed after --device and used in file names."""
    name = top.text("name")
    if not name.isascii() or not name.replace("_", "").replace("-", "").isalnum():
        raise top.wrong("name", f"is '{name}'", "use letters, digits, '_' and '-'")
    return name


def _whole(table: _Table, key: str, figure: Figure) -> None:
    """Refuse a count that is not a whole number."""
    if not figure.value.is_integer():
        raise table.wrong(key, f"is {figure.value:g}, not a whole number")


def _table(file: str, path: str, value: object) -> _Table:
    """A mapping with text keys."""
    if not isinstance(value, dict):
        where = f"'{path}'" if path else "the file"
        raise DeviceError(f"{file}: {where} is {_say(value)}, not a table of keys")
    for key in value:
        if not isinstance(key, str):
            raise DeviceError(f"{file}: key {key!r:.40} is not text", "put it in quotes")
    return _Table(file, path, value)


def _say(value: object) -> str:
    """A short description of a value of a wrong type."""
    if value is None:
        return "empty"
    return f"{repr(value)[:40]} ({type(value).__name__})"


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        """Build one mapping."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen if isinstance(key.value, str) else False:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key.value}' is given twice", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _load(data: bytes, file: str) -> object:
    """Parse the YAML after a walk over its events that bounds depth and refuses aliases."""
    try:
        text = data.decode()
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > MAX_DEPTH:
                raise DeviceError(f"{file}: aliases and deep nesting have no place in a profile")
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError) as cause:
        # ValueError: not UTF-8, an impossible date or a number of thousands of digits
        reason = " ".join(str(cause).split())
        raise DeviceError(f"{file}: not YAML: {reason[:200]}") from cause
