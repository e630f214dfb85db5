"""Results of compressions on disk: a line of JSON each, added as they come."""

from dataclasses import dataclass
from pathlib import Path

from hwc.toolchain.timing import Interval

from .json_lines import add_line, read_lines

Key = tuple[str, str, str, float, int | None]  # part, model, variant, minutes, limit


@dataclass(frozen=True, slots=True)
class Row:
    """One artefact beside the reference.

    Attributes:
        part: Of the benchmark.
        model: A development model.
        variant: How it was made.
        minutes: Of training that were allowed.
        limit: Evaluation samples at most; None: all.
        failure: Why there is none; otherwise empty.
        made: What was chosen.
        seconds: That it took to make.
        score: On the evaluation data; nan where it failed.
        drop: Score of the reference minus this one, paired.
        over_fp32: How many times faster than the reference in fp32: CPU time on one thread.
        over_int8: The same over the best plan with precision alone; None: there is none.
        smaller: Bytes of the reference over bytes.
        removed: Fraction of the reference's multiply-accumulates that went; None: not counted.
        before: Score before it was trained; None: it was not judged.
    """

    part: str
    model: str
    variant: str
    minutes: float
    limit: int | None
    failure: str = ""
    made: str = ""
    seconds: float = 0.0
    score: float | None = None
    drop: Interval | None = None
    over_fp32: Interval | None = None
    over_int8: Interval | None = None
    smaller: float | None = None
    removed: float | None = None
    before: float | None = None

    @property
    def key(self) -> Key:
        """What it is kept under."""
        return self.part, self.model, self.variant, self.minutes, self.limit


@dataclass(frozen=True, slots=True)
class Results:
    """A file of results.

    Attributes:
        path: The file.
        known: What it holds.
    """

    path: Path
    known: dict[Key, Row]

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read a file; a last line that was cut off by a kill is removed from it."""
        return cls(path, {row.key: row for row in read_lines(path, Row)})

    def add(self, row: Row) -> None:
        """Write a result down; a later one of the same key stands for an earlier one."""
        self.known[row.key] = row
        add_line(self.path, row)

    def of(self, part: str) -> list[Row]:
        """The results of one part, in the order in which they came."""
        return [row for row in self.known.values() if row.part == part]
