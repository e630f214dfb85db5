"""An If whose condition is known becomes the branch that it takes."""

import onnx_ir as ir

from ..toolchain.dialect import Dialect
from .edit import Editor
from .journal import Note, done, kept
from .match import constant, operand
from .rule import RulePass


def resolve_branches(dialect: Dialect) -> RulePass:
    """The pass that inlines the taken branch of every If with a constant condition.

    Other control flow passes through untouched.
    """
    return RulePass("resolve-branches", {"If": _resolve}, dialect)


def _resolve(node: ir.Node, editor: Editor) -> Note | None:
    condition = constant(operand(node, 0))
    if condition is None or condition.size != 1:
        return kept(node, "its condition is computed at run time: both branches stay untouched")
    branch = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
    graph = node.attributes[branch].as_graph()
    results = list(graph.outputs)
    if len({id(result) for result in results}) != len(results):
        return kept(node, f"its {branch} returns one tensor twice")
    makers = [result.producer() for result in results]
    if any(maker is None or maker.graph is not graph for maker in makers):
        return kept(node, f"its {branch} returns a tensor that it does not compute")
    _move(graph, node, editor)
    for output, result in zip(node.outputs, results, strict=True):
        editor.rename(result, output)
        output.replace_all_uses_with(result, replace_graph_outputs=True)
    editor.drop(node)
    return done(node, f"its condition is constant: {branch} inlined")


def _move(graph: ir.Graph, node: ir.Node, editor: Editor) -> None:
    """Put the branch's constants and nodes before `node`, under names that are free."""
    graph.outputs.clear()
    for value in list(graph.initializers.values()):
        graph.initializers.pop(value.name or "")
        value.name = editor.unique(value.name or "constant")
        editor.graph.register_initializer(value)
    nodes = list(graph)
    graph.remove(nodes)
    for inner in nodes:
        for value in inner.outputs:
            value.name = editor.unique(value.name) if value.name else value.name
        inner.name = f"{node.name}.{inner.name}"
    editor.graph.insert_before(node, nodes)
