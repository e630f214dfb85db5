"""The deploy graph on disk: as it is, or packed where its weights may be stored or it is large."""

from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from ...toolchain.bundle import MODEL, PACKED
from ...toolchain.storage.formats import Format
from ...toolchain.storage.pack import pack_model
from ..request import Request

BIG = 1 << 30  # bytes of weights beyond which they are written to a file of their own


@dataclass(frozen=True, slots=True)
class Packaging:
    """How a graph is delivered.

    Attributes:
        formats: Storage formats that its weights may have been written in; where there are some, or
            it takes more than `most`, it is packed, unless its weights have a file of their own.
        most: Bytes that it may take; None: any.
    """

    formats: tuple[Format, ...] = ()
    most: int | None = None

    @classmethod
    def of(cls, request: Request) -> "Packaging":
        """What a request asks for."""
        return cls(request.formats, request.max_size)

    def save(self, model: ir.Model, folder: Path) -> Path:
        """Write a graph in the place of an earlier one.

        Returns:
            The path of the graph itself, which `bundle.seal` removes where it is packed, too.
        """
        path = folder / MODEL
        data = path.with_name(f"{MODEL}.data")
        for old in (path, data, folder / PACKED):
            old.unlink(missing_ok=True)
        if weight_bytes(model) > BIG:
            ir.save(model, path, external_data=data.name)
        else:
            ir.save(ir.external_data.load_to_model(model.clone()), path)
            if self.formats or self.refusal(folder):
                self._pack(path)
        _let_go(model)
        return path

    def _pack(self, path: Path) -> None:
        whole = path.read_bytes()
        packed = pack_model(whole, self.formats)
        if len(packed) < len(whole):
            path.with_name(PACKED).write_bytes(packed)

    def refusal(self, folder: Path) -> str:
        """Why the graph in a folder is too large; empty where it is not."""
        size = model_size(folder)
        if self.most is None or size <= self.most:
            return ""
        return f"{size / 1e6:.4g} MB, over --max-size {self.most / 1e6:.4g}"


def model_size(folder: Path) -> int:
    """Bytes of the graph with its weights, as it is delivered."""
    packed = folder / PACKED
    if packed.exists():
        return packed.stat().st_size
    parts = (folder / MODEL, folder / f"{MODEL}.data")
    return sum(part.stat().st_size for part in parts if part.exists())


def weight_bytes(model: ir.Model) -> int:
    """Bytes of a model's weights."""
    weights = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.nbytes for tensor in weights if tensor is not None)


def _let_go(model: ir.Model) -> None:
    """Unmap external weights that were read: their pages count as this process's memory."""
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            value.const_value.release()
