"""YAML from outside, read strictly: bounded, no aliases, and every wrong key or value named."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .device import nearest
from .errors import DeviceError

MAX_BYTES = 64 * 1024
MAX_DEPTH = 8
MAX_TEXT = 400
LEAST, MOST = 1e-6, 1e9  # a figure outside is a slip of the pen, whatever its unit


@dataclass(frozen=True, slots=True)
class Table:
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
            raise self.wrong(key, f"is {value!r:.40}", f"give a number from {LEAST:g} to {MOST:g}")
        return float(value)

    def table(self, key: str) -> "Table":
        """A mapping below this one."""
        return _table(self.file, self.at(key), self.body[key])

    def tables(self) -> "Iterable[tuple[str, Table]]":
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
            hint = "`hwc devices` lists those that come with hwc"
            raise DeviceError(f"device profile {path} {reason}", hint)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as cause:
        raise DeviceError(f"device profile {path} cannot be read: {cause.strerror}") from cause
    if len(data) > MAX_BYTES:
        raise DeviceError(f"device profile {path} is larger than {MAX_BYTES // 1024} KiB")
    return data


def load_table(data: bytes, file: str) -> Table:
    """The top-level mapping of a YAML file.

    Args:
        data: The text, UTF-8.
        file: What errors call it.

    Raises:
        DeviceError: It is not YAML, holds aliases, nests too deep, or is not a mapping.
    """
    return _table(file, "", _load(data, file))


def _table(file: str, path: str, value: object) -> Table:
    """A mapping with text keys."""
    if not isinstance(value, dict):
        where = f"'{path}'" if path else "the file"
        raise DeviceError(f"{file}: {where} is {_say(value)}, not a table of keys")
    for key in value:
        if not isinstance(key, str) or not key.isprintable():
            raise DeviceError(f"{file}: key {key!r:.40} is not text", "put it in quotes")
    return Table(file, path, value)


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
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"key {key.value!r:.40} is given twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _load(data: bytes, file: str) -> object:
    """Parse the YAML, after a walk over its events that bounds depth and refuses aliases."""
    try:
        text = data.decode()
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > MAX_DEPTH:
                raise DeviceError(f"{file}: aliases and deep nesting have no place in a profile")
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as cause:
        reason = " ".join(" ".join(filter(None, (cause.context, cause.problem))).split())
        place = f" (line {cause.problem_mark.line + 1})" if cause.problem_mark else ""
        raise DeviceError(f"{file}: not YAML: {reason[:200]}{place}") from cause
    except (yaml.YAMLError, ValueError) as cause:
        # ValueError: not UTF-8, an impossible date or a number of thousands of digits
        reason = " ".join(str(cause).split())
        raise DeviceError(f"{file}: not YAML: {reason[:200]}") from cause
