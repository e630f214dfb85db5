"""Codebooks of 2 to 8 bits that follow a weight from release to release, so that few codes change.

A codebook that is found anew may number its levels otherwise, and then all codes change. One that
starts from the levels of the last release keeps their order, so that a code keeps its meaning; and
it moves only where that pays, for a level that moves changes codes of weights that did not.
"""

import numpy as np
import numpy.typing as npt

from ...storage.codebook import codebook
from ...storage.levels import Floats, bfloat16

Codes = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]
Reals = npt.NDArray[np.floating]
_SLACK = 1.02  # of the squared error that other levels would leave
_ROUNDS = 10  # of Lloyd's: a weight that was trained on by a little needs no more


def levels(weight: Floats, bits: int, old: Floats | None = None) -> Floats:
    """The levels that leave a small squared error, ascending, each a bfloat16.

    Args:
        weight: Finite numbers of any shape.
        bits: Of a code, 2 to 8; at most 2^bits levels are found.
        old: The levels of the last release, ascending: they are kept as long as they serve almost
            as well; else as many are returned, each in its place, and 0 stays 0. None where there
            was no release.
    """
    if old is None:
        return codebook(weight, 2**bits)
    flat = weight.reshape(-1).astype(np.float64)
    moved = bfloat16(_lloyd(flat, old).astype(np.float32))
    return old if _error(flat, old) <= _SLACK * _error(flat, moved) else moved


def nearest(weight: Reals, ascending: Reals) -> Codes:
    """The code of each number: the place of the level that is nearest to it, the lower of two."""
    table = ascending.astype(np.float64)
    between = (table[1:] + table[:-1]) / 2
    return np.searchsorted(between, weight.astype(np.float64)).astype(np.uint8)


def _lloyd(flat: Doubles, old: Floats) -> Doubles:
    """Levels at the means of what is nearest to them; one that nothing is nearest to stays."""
    centres = old.astype(np.float64)
    for _ in range(_ROUNDS):
        codes = nearest(flat, centres)
        counts = np.bincount(codes, minlength=len(centres))
        sums = np.bincount(codes, flat, minlength=len(centres))
        moved = np.where(counts > 0, sums / np.maximum(counts, 1), centres)
        moved[old == 0] = 0.0  # what was pruned stays so
        moved = np.sort(moved)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _error(flat: Doubles, table: Reals) -> float:
    """Sum of squared errors with each number at its nearest level."""
    return float(np.square(table.astype(np.float64)[nearest(flat, table)] - flat).sum())
