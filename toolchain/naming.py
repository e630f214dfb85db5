"""Names of what a plan adds to a graph, so that a kernel's time finds its way back to a tensor."""

import onnx_ir as ir

_MARK = "__"
FORMS = frozenset(
    {
        "q",
        "dq",
        "pad",
        "raw",
        "fp32",
        "fp16",
        "bf16",
        "q8",
        "q4",
        "scale",
        "sparse",
        "stored",
        "zero",
    }
)


def derived(tensor: str, form: str) -> str:
    """The name of a form of a tensor: its QuantizeLinear output (`q`), a cast (`fp16`), ..."""
    return f"{tensor}{_MARK}{form}"


def base(name: str) -> str:
    """The tensor that a derived name was made from; any other name is returned as it is."""
    head, mark, form = name.rpartition(_MARK)
    return base(head) if mark and form in FORMS else name


def free_names(model: ir.Model) -> None:
    """Rename in place what bears the name of a form already, as it does in a graph that hwc wrote.

    Inputs and outputs of the graph keep their names.
    """
    nodes = list(model.graph.all_nodes())
    written = (out for node in nodes for out in node.outputs if not out.is_graph_output())
    weights = (value for value in model.graph.initializers.values() if not value.is_graph_output())
    named: list[ir.Node | ir.Value] = [*nodes, *written, *weights]
    used = {item.name for item in (*named, *model.graph.inputs, *model.graph.outputs)}
    for item in named:
        name = item.name or ""
        if base(name) == name:
            continue
        while name in used:
            name += "_"
        item.name = name
        used.add(name)
