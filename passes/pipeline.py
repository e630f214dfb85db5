"""The standard passes, and how they run: in order, round by round, until nothing changes."""

from collections.abc import Sequence
from typing import Protocol

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ..toolchain.dialect import Dialect
from .activations import name_activations
from .branches import resolve_branches
from .duplicates import MergeDuplicates
from .fold import FoldConstants
from .fuse import fuse_affine
from .journal import Entry, Journal, Note, Noted, Outcome
from .layernorm import name_layer_norms
from .layout import simplify_layout
from .noops import remove_noops
from .pooling import use_global_pooling
from .recognise import recognise
from .shapes import ComputeShapes, InferShapes

ROUNDS = 10
"""One round finds nearly all; each further one, what the last made possible."""


class GraphPass(Protocol):
    """An onnx_ir pass with a name, whose result says what it did."""

    name: str

    def __call__(self, model: ir.Model, /) -> ir.passes.PassResult:
        """Run the pass in place."""
        ...


class RemoveDead(ir.passes.InPlacePass):
    """Removes nodes and initialisers that nothing reads."""

    name = "remove-dead"

    def call(self, model: ir.Model) -> Noted:
        """Let onnx_ir remove them, and count."""
        before = len(model.graph)
        RemoveUnusedNodesPass()(model)
        count = before - len(model.graph)
        note = Note("", f"{count} nodes that nothing reads removed", Outcome.DONE)
        return Noted.of(model, [note] if count else [])


def standard(dialect: Dialect) -> tuple[GraphPass, ...]:
    """Clean, then fuse; what the runtime of `dialect` fuses by itself stays recognisable."""
    fold = FoldConstants(dialect)
    return (
        RemoveDead(),
        fold,
        InferShapes(),
        ComputeShapes(dialect),
        fold,
        resolve_branches(dialect),
        MergeDuplicates(dialect),
        remove_noops(dialect),
        simplify_layout(dialect),
        use_global_pooling(dialect),
        name_layer_norms(dialect),
        name_activations(dialect),
        fuse_affine(dialect),
        recognise(dialect),
    )


def run(model: ir.Model, dialect: Dialect) -> Journal:
    """Run the standard passes on a model, in place.

    Inputs and outputs keep their names, types and order. Subgraphs, functions and ops of other
    domains pass through untouched, but for an If whose condition is constant.

    Returns:
        What was rewritten, and what was not and why.
    """
    return run_passes(model, standard(dialect))


def run_passes(model: ir.Model, passes: Sequence[GraphPass]) -> Journal:
    """Run passes in order, round by round, until a round changes nothing; see `run`."""
    before = len(model.graph)
    rewrites: list[Entry] = []
    rest: list[Entry] = []
    for _ in range(ROUNDS):
        entries = [entry for graph_pass in passes for entry in _entries(graph_pass, model)]
        fresh = [entry for entry in entries if entry.note.outcome is Outcome.DONE]
        rest = [entry for entry in entries if entry.note.outcome is not Outcome.DONE]
        rewrites += fresh
        if not fresh:
            break
    return Journal((*rewrites, *dict.fromkeys(rest)), before, len(model.graph))


def _entries(graph_pass: GraphPass, model: ir.Model) -> list[Entry]:
    result = graph_pass(model)
    notes = result.notes if isinstance(result, Noted) else ()
    return [Entry(graph_pass.name, note) for note in notes]
