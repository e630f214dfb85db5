"""What a linear layer multiplies its weight with, and what comes out: rows of numbers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..engine import Array

_SPATIAL = 2  # axes of a Conv's tensors before the spatial ones: batch and channel

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some of the products of one sample; a layer without groups has one.

    Attributes:
        read: What is multiplied, shape (groups, positions, depth).
        written: What the original makes of it, shape (groups, positions, channels).
    """

    read: Floats
    written: Floats


@dataclass(frozen=True, slots=True)
class Window:
    """How a Conv walks over its input.

    Attributes:
        kernel: Extent of the kernel on each spatial axis.
        strides: Steps.
        dilations: Distances between taps.
        pads: Zeros before and after each spatial axis, in ONNX's order.
        groups: Groups of channels that do not mix.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    groups: int

    @classmethod
    def of(cls, node: ir.Node, shape: tuple[int, ...]) -> "Window":
        """The window of a Conv whose weight has this shape."""
        kernel = shape[_SPATIAL:]
        rank = len(kernel)
        ints = node.attributes.get_ints
        return cls(
            kernel,
            tuple(ints("strides", [1] * rank)),
            tuple(ints("dilations", [1] * rank)),
            tuple(ints("pads", [0] * (2 * rank))),
            node.attributes.get_int("group", 1),
        )

    def rows(self, x: Array, y: Array, chosen: npt.NDArray[np.intp]) -> Rows:
        """The chosen positions (flat indices into batch and space of the output) of a sample."""
        batch, *place = np.unravel_index(chosen, (y.shape[0], *y.shape[_SPATIAL:]))
        patches = self.windows(x)[(batch, *place)]  # (positions, channels, *kernel)
        read = patches.reshape(len(chosen), self.groups, -1).swapaxes(0, 1)
        written = np.moveaxis(y, 1, -1)[(batch, *place)]
        written = written.reshape(len(chosen), self.groups, -1).swapaxes(0, 1)
        return Rows(np.ascontiguousarray(read), np.ascontiguousarray(written))

    def windows(self, x: Array) -> Array:
        """A view of every patch: shape (batch, *space, channels, *kernel)."""
        rank = len(self.kernel)
        pads = list(zip(self.pads[:rank], self.pads[rank:], strict=True))
        x = np.pad(x, [(0, 0), (0, 0), *pads])
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        axes = tuple(range(_SPATIAL, _SPATIAL + rank))
        view = np.lib.stride_tricks.sliding_window_view(x, spans, axes)
        steps = tuple(slice(None, None, s) for s in self.strides)
        taps = tuple(slice(None, None, d) for d in self.dilations)
        return np.moveaxis(view[(slice(None), slice(None), *steps, *taps)], 1, rank + 1)


def matrix_rows(x: Array, y: Array, chosen: npt.NDArray[np.intp]) -> Rows:
    """The chosen rows of a Gemm or MatMul."""
    read, written = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    return Rows(read[chosen][None], written[chosen][None])
