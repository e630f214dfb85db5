"""Which devices there are, from a CSV file that is read strictly."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...device import nearest
from ...errors import InputError
from .links import LINKS, MBIT, Link

REQUIRED = ("device", "product", "link")
INSTALLED = ("seq", "version")  # exactly one of them
OPTIONAL = ("mbit_per_s", "price_per_mb", "memory_mb", "loss")
_COLUMNS = (*REQUIRED, *INSTALLED, *OPTIONAL)
_MB = 1_000_000
_LONGEST = 200  # characters of a name


@dataclass(frozen=True, slots=True)
class Device:
    """One device of the fleet.

    Attributes:
        id: What its bucket is hashed from.
        product: What it runs.
        installed: The `seq` of its release, or its version where the file names versions.
        link: Its class, with what its own line says better.
        memory: Bytes that it can spare for an update; None where the file does not say.
    """

    id: str
    product: str
    installed: int | str
    link: Link
    memory: int | None = None


def read_inventory(path: Path) -> tuple[Device, ...]:
    """Read a fleet.

    The first line names the columns: `device`, `product`, `link` (a class of `links.LINKS`), `seq`
    or `version` of what is installed, and where wanted `mbit_per_s`, `price_per_mb`, `memory_mb`
    and `loss` (a part of 1). An empty cell of the last four leaves what the class says.

    Raises:
        InputError: Names the line and the column that is wrong.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(_lines(path, file))
    except OSError as cause:
        raise InputError(f"{path}: {cause.strerror}", "name a readable CSV file") from cause
    except UnicodeDecodeError as cause:
        raise InputError(f"{path}: byte {cause.start} is not UTF-8", "save it as UTF-8") from cause
    if not lines:
        raise InputError(f"{path} lists no device", "add a line for each")
    first: dict[str, _Line] = {}
    for line in lines:
        if (other := first.setdefault(line.cells["device"], line)) is not line:
            raise line.wrong("device", f"is on line {other.number} already")
    return tuple(line.device() for line in lines)


@dataclass(frozen=True, slots=True)
class _Line:
    """One line: getters whose errors name file, line and column."""

    file: Path
    number: int
    cells: dict[str, str]

    def wrong(self, column: str, what: str, hint: str = "correct this line") -> InputError:
        """The error for a cell."""
        value = self.cells.get(column, "")
        return InputError(f"{self.file}, line {self.number}, {column}: {value!r:.60} {what}", hint)

    def device(self) -> Device:
        """What the line says."""
        memory = self._number("memory_mb", least=0.0)
        return Device(
            self._text("device"),
            self._text("product"),
            self._seq() if "seq" in self.cells else self._text("version"),
            self._link(),
            None if memory is None else round(memory * _MB),
        )

    def _link(self) -> Link:
        name = self._text("link")
        if name not in LINKS:
            raise self.wrong("link", "is no class of links", nearest(name, LINKS))
        link = LINKS[name]
        speed = self._number("mbit_per_s", least=1e-6)
        price = self._number("price_per_mb", least=0.0)
        loss = self._number("loss", least=0.0, below=1.0)
        return replace(
            link,
            bandwidth=link.bandwidth if speed is None else speed * MBIT,
            price=link.price if price is None else price,
            loss=link.loss if loss is None else loss,
        )

    def _text(self, column: str) -> str:
        value = self.cells[column]
        if not value or not value.isprintable() or value != value.strip():
            raise self.wrong(column, "is not a name")
        if len(value) > _LONGEST:
            raise self.wrong(column, f"has more than {_LONGEST} characters")
        return value

    def _seq(self) -> int:
        value = self.cells["seq"]
        if not (value.isascii() and value.isdigit()) or len(value) > len(str(1 << 53)):
            raise self.wrong("seq", "is not a count of releases")
        return int(value)

    def _number(self, column: str, *, least: float, below: float = math.inf) -> float | None:
        text = self.cells.get(column, "")
        if not text:
            return None
        try:
            value = float(text)
        except ValueError as cause:
            raise self.wrong(column, "is not a number") from cause
        if not least <= value < below:
            bounds = f"at least {least:g}" + (f", below {below:g}" if below < math.inf else "")
            raise self.wrong(column, f"is not {bounds}")
        return value


def _lines(path: Path, file: Iterator[str]) -> Iterator[_Line]:
    """The lines after the first; where one is folded, its last number counts."""
    reader = csv.reader(file, strict=True)
    try:
        columns = next(reader, [])
        _check_columns(path, columns)
        for cells in reader:
            if len(cells) != len(columns):
                what = f"{path}, line {reader.line_num}: {len(cells)} cells, not {len(columns)}"
                raise InputError(what, f"the columns are {', '.join(columns)}")
            yield _Line(path, reader.line_num, dict(zip(columns, cells, strict=True)))
    except csv.Error as cause:
        raise InputError(f"{path}, line {reader.line_num}: {cause}", "correct this line") from cause


def _check_columns(path: Path, columns: list[str]) -> None:
    for column in columns:
        if column not in _COLUMNS:
            hint = nearest(column, _COLUMNS)
            raise InputError(f"{path}, line 1: {column!r:.60} is not a column", hint)
        if columns.count(column) > 1:
            raise InputError(f"{path}, line 1: {column} is there twice", "leave one of them")
    for column in REQUIRED:
        if column not in columns:
            raise InputError(f"{path}, line 1: {column} is missing", "add this column")
    if len(set(INSTALLED) & set(columns)) != 1:
        what = f"{path}, line 1: one of {' and '.join(INSTALLED)} has to be there, not both"
        raise InputError(what, "say once what is installed")
