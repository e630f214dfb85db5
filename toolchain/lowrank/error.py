"""What a factorisation loses: of the weight, and of what the node computes."""

import numpy as np

from .factors import Factorisation, Floats


def weight_error(weight: Floats, factors: Factorisation) -> float:
    """The norm of what is lost over the norm of the weight; 0 of a weight of zeros."""
    return _relative(weight - factors.weight(), weight)


def output_error(weight: Floats, factors: Factorisation, moments: Floats) -> float:
    """The same of the outputs, in the root mean square over the inputs, before the bias.

    Args:
        weight: Shape (out, in, *kernel).
        factors: What stands for it.
        moments: Mean of x x' over the inputs x of one position, shape (in * taps,) twice, the taps
            last.
    """
    lost = _rows(weight - factors.weight())
    whole = _rows(weight)
    energy = float(((whole @ moments) * whole).sum())
    left = float(((lost @ moments) * lost).sum())
    return float(np.sqrt(max(left, 0.0) / energy)) if energy > 0 else 0.0


def _relative(lost: Floats, whole: Floats) -> float:
    size = float(np.linalg.norm(whole))
    return float(np.linalg.norm(lost)) / size if size else 0.0


def _rows(weight: Floats) -> Floats:
    return weight.reshape(weight.shape[0], -1)
