"""What the passes did to a graph, what they left alone, and why."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import onnx_ir as ir


class Outcome(StrEnum):
    """How a look at one node ended."""

    DONE = "done"  # the graph was rewritten
    KEPT = "kept"  # it looked like a match, but a check said no
    LEFT = "left to the runtime"  # recognised, and fused by the runtime itself


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that a pass did or decided against, at one node.

    Attributes:
        node: The node's name; empty where the note is about the whole graph.
        text: What was done, or why not.
    """

    node: str
    text: str
    outcome: Outcome


def done(node: ir.Node, text: str) -> Note:
    """The note of a rewrite."""
    return Note(node.name or "", text, Outcome.DONE)


def kept(node: ir.Node, text: str) -> Note:
    """The note of a rewrite that a check refused, with its reason."""
    return Note(node.name or "", text, Outcome.KEPT)


def left(node: ir.Node, text: str) -> Note:
    """The note of a pattern that the runtime fuses by itself."""
    return Note(node.name or "", text, Outcome.LEFT)


@dataclass
class Noted(ir.passes.PassResult):
    """A pass result that says what was done and what was not."""

    notes: tuple[Note, ...] = ()

    @classmethod
    def of(cls, model: ir.Model, notes: list[Note]) -> "Noted":
        """The result of a pass: the model is modified where a note says so."""
        modified = any(note.outcome is Outcome.DONE for note in notes)
        return cls(model, modified=modified, notes=tuple(notes))


@dataclass(frozen=True, slots=True)
class Entry:
    """A note, with the pass that wrote it."""

    by: str
    note: Note

    def __str__(self) -> str:
        where = f" {self.note.node}" if self.note.node else ""
        why = "" if self.note.outcome is Outcome.DONE else f"{self.note.outcome}: "
        return f"{self.by}{where}: {why}{self.note.text}"


@dataclass(frozen=True, slots=True)
class Journal:
    """What a pipeline did, in order, and what its last look at the graph left alone.

    Attributes:
        entries: All rewrites in the order they were made, then what was kept or left and why.
        before: Nodes of the main graph before the pipeline.
        after: Nodes of the main graph after it.
    """

    entries: tuple[Entry, ...]
    before: int
    after: int

    def of(self, outcome: Outcome) -> tuple[Entry, ...]:
        """The entries that ended in `outcome`."""
        return tuple(entry for entry in self.entries if entry.note.outcome is outcome)

    def counts(self, outcome: Outcome = Outcome.DONE) -> dict[str, int]:
        """How many entries ended in `outcome`, by pass."""
        return dict(Counter(entry.by for entry in self.of(outcome)))

    def lines(self) -> Iterator[str]:
        """One line an entry, as `-v` prints them; the first line is the sum."""
        rewrites = len(self.of(Outcome.DONE))
        yield f"graph: {self.before} -> {self.after} nodes in {rewrites} rewrites"
        yield from map(str, self.entries)
