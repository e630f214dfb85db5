"""Load a model, from whatever the user named, into one checked and normalised graph."""

import re
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir

from ..errors import InputError
from ..progress import Progress, Silent
from .check import check_proto
from .external import check_external, inline_small
from .normalise import adopt_plugins, normalise
from .onnx_file import read_proto, refuse_pickle, to_graph
from .opset import convert_opset
from .shapes import fix_shapes, infer_shapes
from .surgery import operate
from .torch_module import export_factory, export_program
from .weightless import detach, stand_in

OLDEST = 13  # the first opset with per-channel DequantizeLinear
TARGET = 17  # what older models become: the last opset before reductions take axes as inputs
_FACTORY = re.compile(r"[^\s:]+:\w+")


def load_model(
    source: str | Path,
    *,
    inputs: Mapping[str, tuple[int, ...]] | None = None,
    surgery: str | None = None,
    opset: range | None = None,
    progress: Progress | None = None,
) -> ir.Model:
    """Load an ONNX file, a `.pt2` program or `package.module:factory`.

    Weights in external data stay on disk: they are mapped when a pass looks at them.

    Args:
        source: The file, or the factory of a torch module.
        inputs: Shapes of the inputs by name; the name '' stands for the only input.
        surgery: `file.py:function` that changes the graph with onnx-graphsurgeon first.
        opset: The opsets that will do; the model is converted to the nearest of them.
        progress: Told what was converted, and what could not be.

    Raises:
        InputError: The source is not there, not a model, not valid, or does not fit the arguments.
    """
    told = progress or Silent()
    model, folder = _read(source, inputs or {})
    if surgery:
        model = operate(model, surgery, folder)
    normalise(model)
    infer_shapes(model, str(source))
    model = _convert(model, opset, told)
    given = inputs if Path(source).is_file() else None  # a factory was traced with them
    return fix_shapes(model, given) if given else model


def load_structure(
    source: str | Path,
    *,
    inputs: Mapping[str, tuple[int, ...]] | None = None,
    progress: Progress | None = None,
) -> ir.Model:
    """Load a model to reason about it, never to run it: its weights need not be there.

    Weights that are there are mapped or read as `load_model` does, and the same is checked.

    Args:
        source: As for `load_model`.
        inputs: As for `load_model`.
        progress: Told how many weights are made up.

    Raises:
        InputError: See `load_model`; or a missing value decides a shape.
    """
    path, told = Path(source), progress or Silent()
    if not path.is_file() or path.suffix == ".pt2":
        return load_model(source, inputs=inputs, progress=progress)
    refuse_pickle(path)
    proto = read_proto(path)
    absent = detach(proto, str(path), path.parent.absolute())
    model = _checked(proto, path)
    normalise(model)
    infer_shapes(model, str(path))
    if count := stand_in(model, absent):
        told.note(f"{count} weights are not in {path}: their shapes stand in for them")
    model = _convert(model, None, told)
    return fix_shapes(model, inputs) if inputs else model


def _read(source: str | Path, inputs: Mapping[str, tuple[int, ...]]) -> tuple[ir.Model, Path]:
    """The model as it was written, and the folder that its data files lie in."""
    path = Path(source)
    if path.is_file():
        refuse_pickle(path)
        pt2 = path.suffix == ".pt2"
        return (export_program(path) if pt2 else _checked(read_proto(path), path)), path.parent
    if path.is_dir():
        raise InputError(f"{path} is a folder", "name the model file in it")
    if _FACTORY.fullmatch(str(source)):
        return export_factory(str(source), inputs), Path()
    raise InputError(f"there is no file {source}", "give an ONNX file, a .pt2 or module:factory")


def _checked(proto: onnx.ModelProto, path: Path) -> ir.Model:
    """The graph of what was read from `path`, after every check."""
    folder = path.parent.absolute()
    check_external(proto, folder)
    adopt_plugins(proto)
    check_proto(proto, str(path))
    inline_small(proto, folder)
    return to_graph(proto, str(path), folder)


def _convert(model: ir.Model, wanted: range | None, told: Progress) -> ir.Model:
    """Bring the opset into `wanted`; without it, lift old models as far as possible."""
    current = model.opset_imports.get("")
    if current is None:
        return model
    if wanted is not None and current not in wanted:
        target = wanted[0] if current < wanted[0] else wanted[-1]
        told.note(f"opset {current} converted to {target}")
        return convert_opset(model, target)
    if wanted is None and current < OLDEST:
        try:
            model = convert_opset(model, TARGET)
            told.note(f"opset {current} converted to {TARGET}")
        except InputError as cause:
            told.note(f"opset {current} kept: {cause.message}")
    return model
