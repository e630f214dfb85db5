"""What an earlier deploy graph of a model fixes for the next: scales, zero points, codebooks."""

import math
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ..toolchain import kernels
from ..toolchain.engine import Array
from ..toolchain.errors import InputError
from ..toolchain.naming import derived
from ..toolchain.storage.formats import Format
from .forms import SUFFIX
from .quantize import Affine, Floats, beyond, channel_axis
from .store import stored_name
from .weight_only import BLOCK, INT4_HALF

_HINT = "compile without --base: only the weights of the model may have changed"


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """The constants of a graph that a plan was written into, for the same plan with other weights.

    Attributes:
        graph: The earlier deploy graph.
        clipped: How many numbers of each weight were beyond its scales, by the name of its
            integers; filled in as weights are written. What storage leaves of a weight is in it
            with 0: its levels need not reach as far as the weight.
    """

    graph: ir.Graph
    clipped: dict[str, int] = field(default_factory=dict)

    def activation(self, tensor: str) -> Affine:
        """The mapping of an activation tensor.

        Raises:
            InputError: The earlier graph does not have it as integers.
        """
        return self._affine(tensor)

    def constant(self, name: str, array: Floats) -> Affine:
        """The mapping of a constant operand whose integers have this name.

        Raises:
            InputError: It had another scale or none; or it is not finite.
        """
        affine = self._affine(name)
        self.count(name, array, affine)
        return affine

    def weight(self, node: ir.Node, array: Floats) -> Floats:
        """The int8 scales of a node's weight; shape (channels,), or () for one over the tensor.

        Raises:
            InputError: It had as many channels as it has now no longer; or it is not finite.
        """
        name, axis = derived(str(node.name), "q8"), channel_axis(node, array.ndim)
        scale = self._scale(name, () if axis is None else array.shape[axis : axis + 1])
        self.count(name, array, Affine(scale, np.zeros(scale.shape, np.int8)), axis)
        return scale

    def blocks(self, name: str, matrix: Floats, *, flat: bool) -> Floats:
        """The scales of a weight in 4-bit blocks, shape (blocks, columns).

        Args:
            name: Of its integers.
            matrix: The weight, shape (depth, columns).
            flat: Whether they are held column by column in one row, as MatMulNBits has them.

        Raises:
            InputError: It had other scales or none; or it is not finite.
        """
        depth, columns = matrix.shape
        shape = (-(-depth // BLOCK), columns)
        found = self._scale(name, (math.prod(shape),) if flat else shape)
        scale = found.reshape(shape[::-1]).T if flat else found
        self._finite(name, matrix)
        steps = np.rint(matrix / np.repeat(scale, BLOCK, axis=0)[:depth])
        self.clipped[name] = int(np.count_nonzero(np.abs(steps) > INT4_HALF))
        return scale

    def stored(self, node: ir.Node, form: Format) -> Floats:
        """What storage had left of a node's weight, as near as the earlier graph tells.

        A kernel of a float type reads it as it was decoded, one of integers after another rounding.

        Raises:
            InputError: It had another shape.
        """
        weight = node.inputs[1]
        shape = () if weight is None else kernels.dims(weight)
        name = stored_name(node, form)
        found = _any(self.graph, name)
        if found is None:
            found = self._decoded(node, shape)
        else:
            self.clipped[name] = 0
        if found is None or found.shape != shape:
            had = "none" if found is None else list(found.shape)
            raise _other(f"the stored weight of '{node.name}' has the shape {list(shape)}", had)
        return found.astype(np.float32)

    def count(self, name: str, array: Floats, affine: Affine, axis: int | None = None) -> None:
        """Note how many numbers are beyond a scale.

        Raises:
            InputError: One is NaN or infinite.
        """
        self._finite(name, array)
        self.clipped[name] = beyond(array, affine, axis)

    def changed(self, graph: ir.Graph) -> tuple[int, int]:
        """How many weights of a graph that was written have another code, of how many."""
        differing = total = 0
        for name in self.clipped:
            old, new = _any(self.graph, name), _any(graph, name)
            if old is None or new is None:
                continue
            if old.dtype == np.uint8 and name.endswith(derived("", "q4")):  # two in a byte
                old, new = (np.stack([array & 15, array >> 4]) for array in (old, new))
            differing += int(np.count_nonzero(old != new))
            total += old.size
        return differing, total

    def _finite(self, name: str, array: Floats) -> None:
        if not np.isfinite(array).all():
            hint = "check the model's initialisers"
            raise InputError(f"a number of '{name}' is NaN or infinite", hint)

    def _affine(self, name: str) -> Affine:
        zero = _held(self.graph, derived(name, "zero"))
        if zero is None or zero.shape != ():
            raise InputError(f"'{name}' is to be integers, but is none in the base", _HINT)
        return Affine(self._scale(name, ()), zero)

    def _scale(self, name: str, shape: tuple[int, ...]) -> Floats:
        found = _any(self.graph, derived(name, "scale"))
        if found is None or found.shape != shape:
            had = "none" if found is None else list(found.shape)
            raise _other(f"'{name}' has scales of shape {list(shape)}", had)
        return found.astype(np.float32)

    def _decoded(self, node: ir.Node, shape: tuple[int, ...]) -> Floats | None:
        """The int8 weight of a node as real numbers, without the channels that padding added."""
        name = derived(str(node.name), "q8")
        integers = _held(self.graph, name)
        if integers is None or integers.ndim != len(shape):
            return None
        axis = channel_axis(node, len(shape))
        scale = self._scale(name, () if axis is None else integers.shape[axis : axis + 1])
        wide = [1] * integers.ndim
        if axis is not None:
            wide[axis] = -1
        kept = integers[tuple(slice(size) for size in shape)]
        return (kept * scale.reshape(wide)).astype(np.float32)


def _any(graph: ir.Graph, name: str) -> Array | None:
    """A constant in whatever float type the graph holds it; the widest, where it has several.

    All are the same numbers: a scale is chosen so that the narrowest holds it.
    """
    names = (name, *(derived(name, suffix) for suffix in SUFFIX.values()))
    held = (_held(graph, each) for each in names)
    return next((array for array in held if array is not None), None)


def _held(graph: ir.Graph, name: str) -> Array | None:
    value = graph.initializers.get(name)
    return None if value is None or value.const_value is None else value.const_value.numpy()


def _other(what: str, had: object) -> InputError:
    return InputError(f"{what}, and in the base {had}", _HINT)
