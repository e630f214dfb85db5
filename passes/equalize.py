"""Cross-layer equalisation: channels of two consecutive layers get weights of the same size.

Nagel et al., "Data-free quantization through weight equalization and bias correction" (2019),
equations 9 to 12; Meller et al., "Same, same but different" (2019). No data is needed. The model
computes the same function: ReLU and its like let positive factors through (see `links`).
"""

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .affine import Vector
from .edit import Editor
from .find_links import find_links
from .journal import Note, Noted, done
from .links import Link

SWEEPS = 40
_SETTLED = 1.01  # no channel moves by more: far below what 8 bits resolve
LIMIT = 2.0**12  # a factor beyond this would only trade one extreme channel for another


def equalize(model: ir.Model, opset_max: int) -> Noted:
    """Equalise a copy of a model.

    Args:
        model: The graph after the graph passes; it is not changed.
        opset_max: The highest opset that the target reads.

    Returns:
        The copy; a note says for each link by how much its channels moved, or why none could.
    """
    copy = model.clone()
    editor = Editor(copy, opset_max)
    found = find_links(copy)
    links = [link for link in found.links if link.written_magnitude() is not None]
    total = {link.name: np.ones(link.channels) for link in links}
    for _ in range(SWEEPS):
        moved = 1.0
        for link in links:
            factors = _balance(link)
            link.rescale(factors, editor)
            total[link.name] *= factors
            moved = max(moved, float(factors.max() / factors.min()))
        if moved < _SETTLED:
            break
    notes = [note_of(link, total[link.name], "equalised") for link in links]
    return Noted.of(copy, [*notes, *found.skipped])


def note_of(link: Link, factors: Vector, text: str) -> Note:
    """What was done to a link."""
    low, high = float(factors.min()), float(factors.max())
    writer = link.writers[0].name
    where = f"{link.channels} channels of {writer}"
    return done(link.readers[0].node, f"{where} {text}: factors {low:.3g} to {high:.3g}")


def tame(factors: Vector, live: npt.NDArray[np.bool_]) -> Vector:
    """Factors within the limit, of geometric mean 1; 1 for channels that are not live."""
    logs = np.log(np.where(live, factors, 1.0))
    logs = logs - logs[live].mean() if live.any() else logs
    bound = np.log(LIMIT)
    tamed: Vector = np.where(live, np.exp(np.clip(logs, -bound, bound)), 1.0)
    return tamed


def _balance(link: Link) -> Vector:
    """The factors that make the largest weights of writers and readers equal (equation 11)."""
    written = link.written_magnitude()
    read = link.read_magnitude()
    if written is None:
        return np.ones(link.channels)
    live = (written > 0) & (read > 0)
    return tame(np.sqrt(np.divide(written, read, out=np.ones_like(read), where=live)), live)
