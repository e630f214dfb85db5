"""A file of results: a line of JSON each, added as they come."""

from pathlib import Path
from typing import TypeVar

from hwc.toolchain.codec import canonical, parse

T = TypeVar("T")


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """The results of a file; a last line that was cut off by a kill is removed from it."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    *lines, rest = text.split("\n")
    if rest:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return [parse(kind, line) for line in lines]


def add_line(path: Path, result: object) -> None:
    """Write a result down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(canonical(result) + "\n")
