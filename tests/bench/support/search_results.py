"""Results of searches on disk: a line of JSON each, added as they come."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .devkit import SkipError
from .json_lines import add_line, read_lines
from .search_entrants import EXACT
from .search_run import Final, Result

Key = tuple[str, str, int, int]  # cell, strategy, seed, budget


@dataclass(frozen=True, slots=True)
class Results:
    """A file of results.

    Attributes:
        path: The file.
        known: What it holds.
    """

    path: Path
    known: dict[Key, Result]

    @classmethod
    def read(cls, path: Path) -> "Results":
        """Read a file; a last line that was cut off by a kill is removed from it."""
        return cls(path, {_key(result): result for result in read_lines(path, Result)})

    def __contains__(self, key: Key) -> bool:
        """Whether there is such a result."""
        return key in self.known

    def add(self, result: Result) -> None:
        """Write a result down."""
        self.known[_key(result)] = result
        add_line(self.path, result)

    def check(self, cell: str, setting: str) -> None:
        """Refuse to go on with a cell that is not what it was.

        Raises:
            SkipError: Prices, sensitivities or limits are other ones.
        """
        if any(r.cell == cell and r.setting != setting for r in self.known.values()):
            raise SkipError(f"{self.path} has other prices for {cell}: name another --out")

    def of(self, only: Sequence[str] | None, budget: int) -> list[Result]:
        """The results of some cells."""
        every = [result for result in self.known.values() if result.budget == budget]
        return [r for r in every if not only or any(text in r.cell for text in only)]

    def line(self, result: Result) -> str:
        """A result in one line, beside that of the exact plan where it is known."""
        exact = next((r for k, r in self.known.items() if k[:2] == (result.cell, EXACT)), None)
        unit = exact.winner.loss if exact and exact.winner else 1.0
        shown = [f"{_loss(final, unit)}" for final in (result.winner, result.guarded) if final]
        spent = f"{result.thought:.0f} + {result.judged:.0f} s"
        who = f"{result.cell}: {result.strategy}, seed {result.seed}"
        return f"{who}: {' guarded '.join(shown) or 'no plan'} of exact's ({spent})"


def _key(result: Result) -> Key:
    return result.cell, result.strategy, result.seed, result.budget


def _loss(final: Final, unit: float) -> str:
    return f"{final.loss / unit:.3f}"
