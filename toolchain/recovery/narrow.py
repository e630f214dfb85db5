"""Weights of an int8 kernel in fewer bits: smaller on disk, computed as before."""

import numpy as np

from ..engine import Array
from ..naming import derived
from .layers import Layer
from .rounding import Floats

_CANDIDATES = 33  # scales of a channel that are tried, down to half of what covers it


def narrow(layer: Layer, bits: int) -> dict[str, Array]:
    """Constants of an int8 layer with weights that fit fewer bits, symmetric, rounded to nearest.

    The scale of each channel is the one of the least squared error. The range of integers shrinks,
    and a recovery that follows stays within it.

    Args:
        layer: With one scale a channel.
        bits: From 2 to 8.
    """
    limit = 2 ** (bits - 1) - 1
    scale = _scales(layer.original, limit)
    steps = np.clip(np.rint(layer.original / scale), -limit, limit).astype(np.int32)
    steps[~layer.grid.free] = layer.grid.steps[~layer.grid.free]
    flat = scale.reshape(-1).astype(np.float32)
    made = {layer.weight: layer.constant(steps), derived(layer.weight, "scale"): flat}
    bias = layer.bias
    if bias is not None and bias.unit is not None:
        unit = bias.unit * (flat / layer.grid.scale[:, :, 0].reshape(-1))
        steps_of_bias = np.rint(bias.values.reshape(-1) / unit)
        made[bias.name] = steps_of_bias.astype(bias.like.dtype)
        made[derived(bias.name, "scale")] = unit.astype(np.float32)
    return made


def _scales(weight: Floats, limit: int) -> Floats:
    """The scale of each channel that leaves the least squared error; shape (..., channels, 1)."""
    top = np.abs(weight).max(-1, keepdims=True) / limit
    top = np.where(top > 0.0, top, 1.0)
    tried = [top * part for part in np.linspace(0.5, 1.0, _CANDIDATES)]
    errors = [
        ((np.clip(np.rint(weight / s), -limit, limit) * s - weight) ** 2).sum(-1) for s in tried
    ]
    best = np.argmin(errors, axis=0)[..., None]
    chosen: Floats = np.take_along_axis(np.stack(tried), best[None], 0)[0]
    return chosen
