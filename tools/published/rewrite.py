"""Puts fitted figures into the text of a device profile, and leaves everything else as it is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...toolchain.device import Confidence
from ...toolchain.device_yaml import parse_profile
from ...toolchain.errors import DeviceError

_LINE = re.compile(r"(?P<indent> *)(?P<key>[\w-]+):(?P<rest>.*)")
_COMMENT = re.compile(r"  #.*$")


@dataclass(frozen=True, slots=True)
class NewFigure:
    """What a figure of a profile becomes.

    Attributes:
        value: Its value.
        source: A key of the profile's `sources`.
        confidence: How far it can be trusted.
    """

    value: float
    source: str
    confidence: Confidence

    def __str__(self) -> str:
        value = float(f"{self.value:.3g}")  # three digits, and no exponent: 13100
        return f"{{value: {value:g}, source: {self.source}, confidence: {self.confidence}}}"


def rewrite(
    text: str, file: str, *, figures: Mapping[str, NewFigure], sources: Mapping[str, str]
) -> str:
    """Replace figures and sources of a profile, each on the line where it stands.

    Args:
        text: The profile as YAML; a figure is one line.
        file: What errors call it.
        figures: By their path, such as `efficiency.conv`.
        sources: Texts by their key in `sources`.

    Raises:
        DeviceError: The profile has no such figure or source, or is not valid with the new ones.
    """
    wanted = {path: str(figure) for path, figure in figures.items()}
    wanted |= {f"sources.{key}": _quoted(value) for key, value in sources.items()}
    lines, table = [], ""
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        path = ""
        if found:
            inner = bool(found["indent"])
            path = f"{table}.{found['key']}" if inner else found["key"]
            table = table if inner else found["key"]
        new = wanted.pop(path, None) if found else None
        if found is None or new is None:
            lines.append(line)
            continue
        comment = _COMMENT.search(line)
        lines.append(f"{found['indent']}{found['key']}: {new}{comment[0] if comment else ''}")
    if wanted:
        hint = "write the line into the file first: it says where the figure belongs"
        raise DeviceError(f"{file} has no '{next(iter(wanted))}'", hint)
    new_text = "\n".join(lines) + "\n"
    parse_profile(new_text.encode(), file)
    return new_text


def _quoted(text: str) -> str:
    """A YAML string in double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
