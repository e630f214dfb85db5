"""The time of a kernel from what it computes and moves: a roofline with occupancy."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Number = float | npt.NDArray[np.float64]  # of one kernel, or of many

# Multiply-accumulates of one output element that are worth a compute unit of their own: with
# fewer, runtimes do not split the reduction (split-K) over units.
SPLIT_DEPTH = 512
_ROUNDING = 1e-9  # a fraction of a wave that is not there: it comes from dividing


@dataclass(frozen=True, slots=True)
class Load:
    """What kernels compute and move.

    Attributes:
        macs: Multiply-accumulates.
        outputs: Elements that they write.
        weights: Bytes of weights, which come from memory.
        activations: Bytes of activations read and written, which may stay in the cache.
    """

    macs: Number
    outputs: Number
    weights: Number
    activations: Number


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast a device runs them.

    Attributes:
        launch: Microseconds to start a kernel.
        compute: Operations a microsecond that all units together reach; a multiply and an add are
            two.
        units: Compute units.
        grain: Output elements of one tile, which one unit computes.
        memory: Bytes a microsecond from memory.
        cache: Bytes that the last-level cache holds.
        cached: Bytes a microsecond from the cache.
    """

    launch: Number
    compute: Number
    units: Number
    grain: Number
    memory: Number
    cache: Number
    cached: Number


def kernel_us(load: Load, rates: Rates) -> Number:
    """Microseconds of each kernel: launch + max(computing, moving the bytes)."""
    return rates.launch + np.maximum(_compute_us(load, rates), _move_us(load, rates))


def from_memory(load: Load, rates: Rates) -> Number:
    """The bytes that do not come from the cache."""
    return load.weights + load.activations - np.minimum(load.activations, rates.cache)


def _compute_us(load: Load, rates: Rates) -> Number:
    """The output's tiles run in waves, one a unit; the last wave takes as long as a full one.

    With fewer tiles than units, a deep reduction is split over the idle units.
    """
    tiles = np.maximum(1.0, np.ceil(load.outputs / rates.grain))
    depth = np.maximum(1.0, load.macs / np.maximum(1.0, load.outputs) / SPLIT_DEPTH)
    parts = tiles * np.clip(rates.units / tiles, 1.0, depth)
    waves = np.ceil(parts / rates.units - _ROUNDING)
    return waves * 2 * load.macs * rates.units / (parts * rates.compute)


def _move_us(load: Load, rates: Rates) -> Number:
    """Weights and what does not fit come from memory, the rest of the activations from cache."""
    far = from_memory(load, rates)
    near = load.weights + load.activations - far
    return far / rates.memory + near / np.maximum(rates.cached, rates.memory)
