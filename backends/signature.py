"""The names and types of a graph's inputs and outputs, kept beside engines that forget them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import onnx_ir as ir

from ..toolchain.engine import Array
from ..toolchain.errors import BackendError, InputError
from ..toolchain.inputs import InputSpec

SUFFIX = ".io.json"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a graph takes and gives, in its order.

    Attributes:
        inputs: With fixed shapes.
        outputs: Pairs of name and NumPy type.
    """

    inputs: tuple[InputSpec, ...]
    outputs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, model: ir.Model) -> Self:
        """Read a graph's own signature.

        Raises:
            InputError: An input's shape is not fixed.
        """
        return cls(
            tuple(_spec(value) for value in model.graph.inputs),
            tuple((str(value.name), _type(value)) for value in model.graph.outputs),
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            BackendError: The file is missing or not a signature.
        """
        try:
            body = json.loads(path.read_text("utf-8"))
            inputs = (
                InputSpec(str(i["name"]), str(i["dtype"]), tuple(i["shape"]))
                for i in body["inputs"]
            )
            outputs = ((str(name), str(dtype)) for name, dtype in body["outputs"])
            return cls(tuple(inputs), tuple(outputs))
        except (OSError, ValueError, KeyError, TypeError) as cause:
            message = f"{path.name} beside the engine cannot be read: {cause}"
            raise BackendError(message, "build the engine again with `hwc build`") from cause

    def write(self, path: Path) -> None:
        """Write the signature as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", "utf-8")

    def name_outputs(self, arrays: list[Array]) -> dict[str, Array]:
        """The arrays of a runtime, in the graph's order, by name and in the graph's types.

        Raises:
            BackendError: The runtime gives another number of outputs.
        """
        if len(arrays) != len(self.outputs):
            message = f"the engine gives {len(arrays)} outputs, the graph has {len(self.outputs)}"
            raise BackendError(message, "build the engine again with `hwc build`")
        pairs = zip(self.outputs, arrays, strict=True)
        return {name: array.astype(dtype, copy=False) for (name, dtype), array in pairs}


def _spec(value: ir.Value) -> InputSpec:
    if value.shape is None or not value.shape.is_static():
        message = f"input '{value.name}' has shape {value.shape}, not a fixed one"
        raise InputError(message, "compile the model with fixed input shapes")
    return InputSpec(str(value.name), _type(value), value.shape.numpy())


def _type(value: ir.Value) -> str:
    return value.dtype.numpy().name if value.dtype is not None else "float32"
