"""Run a user's onnx-graphsurgeon function on the fp32 graph."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir

from ..errors import InputError
from .check import check_proto
from .normalise import adopt_plugins
from .onnx_file import to_graph
from .protos import is_external
from .user_code import attempt, load_function

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs


def operate(model: ir.Model, spec: str, folder: Path) -> ir.Model:
    """Run `file.py:function` on the model: it gets a `gs.Graph`, and returns one or changes it.

    Weights that the function does not look at keep their place on disk and their type. What the
    function prints goes to standard error.

    Args:
        model: The model as it was read.
        spec: `file.py:function` or `module:function`.
        folder: Where the model's external data lies.

    Raises:
        InputError: The function is not there, it fails, or it leaves a graph that is not valid.
    """
    function = load_function(spec)
    with contextlib.redirect_stdout(sys.stderr):
        proto = _run(function, ir.to_proto(model), spec, folder)
    adopt_plugins(proto)
    source = f"the graph that {spec} left"
    check_proto(proto, source)
    return to_graph(proto, source, folder)


def _run(function: Any, proto: onnx.ModelProto, spec: str, folder: Path) -> onnx.ModelProto:  # noqa: ANN401 - the user's
    import onnx_graphsurgeon as gs  # noqa: PLC0415 - heavy, and only used here

    with attempt("reading the model into onnx-graphsurgeon"):
        graph = gs.import_onnx(proto)
        for part in (graph, *graph.subgraphs(recursive=True)):
            _read_lazily(part, folder)
    with attempt(f"surgery {spec}"):
        result = function(graph)
    result = graph if result is None else result
    if not isinstance(result, gs.Graph):
        hint = "return the graph, or nothing to keep the one that was handed in"
        raise InputError(f"surgery {spec} returned a {type(result).__name__}", hint)
    with attempt(f"the graph that {spec} left cannot be written: export"):
        exported: onnx.ModelProto = gs.export_onnx(result, do_type_check=False)
    exported.ir_version = proto.ir_version  # of a new gs.Graph it would be the newest there is
    exported.metadata_props.extend(proto.metadata_props)
    return exported


def _read_lazily(graph: "gs.Graph", folder: Path) -> None:
    """Let external weights be found from any working directory, and only when looked at."""
    import onnx_graphsurgeon as gs  # noqa: PLC0415 - heavy, and only used here

    class External(gs.ir.tensor.LazyValues):  # type: ignore[misc]  # graphsurgeon has no types
        """Values that are mapped from the model's folder."""

        def load(self) -> Any:  # noqa: ANN401 - graphsurgeon's signature
            tensor = ir.serde.deserialize_tensor(self.tensor, folder)
            return tensor.numpy().copy()

    for tensor in graph.tensors().values():
        values = getattr(tensor, "_values", None)
        if isinstance(values, gs.ir.tensor.LazyValues) and is_external(values.tensor):
            tensor.values = External(values.tensor)
            tensor.data_location = None  # else new values would be marked as external, too
