"""Where whole tensors lie in a file that says nothing of its layout, with their axes exchanged.

Of each tensor and each way to exchange two of its axes, 64 bytes are looked for; where they are
found, all of it is compared.
"""

import math
from collections.abc import Iterable, Iterator

from ..release import Tensor
from .files import Folder
from .find import Finder, Known, same
from .header import Op
from .match import Place
from .script import Step
from .transpose import Axes

_WINDOW = 64  # bytes that a Finder looks for
_LEAST = 2 * _WINDOW  # bytes of a tensor that is worth a segment
_SAMPLE = 16 * _WINDOW  # bytes of an exchanged tensor in which a window is sought that is varied

Candidate = tuple[Place, Axes, int]  # a tensor, how it is turned, and where its window lies then


class TurnedFinder:
    """Looks for turned tensors of a release.

    Args:
        places: The tensors.
        folder: What holds them.
    """

    def __init__(self, places: Iterable[Place], folder: Folder) -> None:
        self._folder = folder
        self._candidates: list[Candidate] = []
        known = []
        for place in places:
            for axes in ways(place.tensor):
                sample = axes.head(self._view(place), _SAMPLE)
                at = _varied(sample)
                if at is not None:
                    window = memoryview(sample)[at : at + _WINDOW]
                    known.append(Known(window, "", len(self._candidates), new=True))
                    self._candidates.append((place, axes, at))
        self._finder = Finder(known)

    def search(self, data: memoryview) -> Iterator[tuple[int, Step]]:
        """Where turned tensors begin in some bytes, in order and apart, and how to write them."""
        end = 0
        for found in self._finder.search(data):
            place, axes, at = self._candidates[found.known.offset]
            begin, size = found.begin - at, place.tensor.size
            if begin < end or begin + size > len(data):
                continue
            turned = axes.exchanged(self._view(place))
            if same(data[begin : begin + size], memoryview(turned)):
                end = begin + size
                where = place.path, place.tensor.offset, size
                yield begin, Step(Op.TRANSPOSED, place.tensor.dtype, *where, axes)

    def _view(self, place: Place) -> memoryview:
        tensor = place.tensor
        return self._folder.views[place.path][tensor.offset : tensor.offset + tensor.size]


def ways(tensor: Tensor) -> Iterator[Axes]:
    """How the axes of a tensor of whole elements may be exchanged, and its bytes be others then.

    Of a convolution: channels last (OHWI), outputs last (IHWO), both channels exchanged (IOHW).
    """
    shape, width = tensor.shape, tensor.dtype.size
    if len(shape) < 2 or tensor.size < _LEAST or math.prod(shape) * width != tensor.size:  # noqa: PLR2004 - a matrix
        return
    first, second, inner = shape[0], shape[1], math.prod(shape[2:])
    found = {
        Axes(second, inner, width),
        Axes(first, second * inner, width),
        Axes(first, second, inner * width),
    }
    for axes in sorted(found, key=lambda axes: (axes.rows, axes.columns)):
        if min(axes.rows, axes.columns) > 1 and axes.fits(tensor.size):
            yield axes


def _varied(data: bytes) -> int | None:
    """Where the first window begins that a Finder looks for: not one word again and again."""
    for at in range(0, len(data) - _WINDOW + 1, _WINDOW):
        window = data[at : at + _WINDOW]
        if window != window[:4] * (_WINDOW // 4):
            return at
    return None
