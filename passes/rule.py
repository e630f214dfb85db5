"""A pass that looks at every node of the main graph with the rule for its op type."""

from collections.abc import Callable, Mapping

import onnx_ir as ir

from ..toolchain.dialect import Dialect
from .edit import Editor
from .journal import Note, Noted, Outcome

Rule = Callable[[ir.Node, Editor], Note | None]


class RulePass(ir.passes.InPlacePass):
    """Applies one rule at each node, in topological order, until the rule has no more to do there.

    A rule returns None where there is no match, and otherwise a note: what it rewrote, or why it
    did not. Every rewrite must take the graph nearer to an end (fewer nodes, or a node that no
    rule matches again), so the time is linear in nodes and rewrites. Subgraphs, functions and ops
    of other domains are not looked at.

    Args:
        name: What the journal calls the pass.
        rules: By op type.
        dialect: The target: no op newer than it reads is introduced.
    """

    def __init__(self, name: str, rules: Mapping[str, Rule], dialect: Dialect) -> None:
        self.name = name
        self._rules = rules
        self._opset_max = dialect.opset_max

    def call(self, model: ir.Model) -> Noted:
        """Apply the rules once to every node."""
        editor = Editor(model, self._opset_max)
        notes: list[Note] = []
        for node in model.graph:
            rule = self._rules.get(node.op_type) if node.domain == "" else None
            while rule is not None and node.graph is model.graph:
                note = rule(node, editor)
                if note is not None:
                    notes.append(note)
                if note is None or note.outcome is not Outcome.DONE:
                    break
                rule = self._rules.get(node.op_type)
        return Noted.of(model, notes)
