"""Typical sensitivities, for models whose own were not measured."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ..kernels import MOVES
from ..plan import Precision, Sparsity
from ..slots import SlotGraph

# Median loss of a slot's choice over that in int8, as swept on ResNet-20, DS-CNN, a ViT and
# EfficientNet-Lite0. bf16 rounds 8 times as coarsely as fp16: its noise has 64 times the power.
BITS: Mapping[Precision, float] = {
    Precision.FP32: 0.0,
    Precision.FP16: 5e-4,
    Precision.BF16: 3e-2,
    Precision.INT8: 1.0,
    Precision.INT4: 60.0,
}
# The same of 2:4 by magnitude, without training after it, as swept on ResNet-20: 300 to 5,000.
_ZEROS: Mapping[Sparsity, float] = {Sparsity.DENSE: 0.0, Sparsity.TWO_FOUR: 700.0}
_KIND: Mapping[str, float] = {"depthwise": 1.5, "elementwise": 0.8, "pool": 0.3}
_FIRST, _LAST = 5.0, 1.5  # how much more the products at the ends lose


def typical(graph: SlotGraph) -> npt.NDArray[np.float64]:
    """What each choice of each slot is likely to lose, in any unit.

    Fewer bits lose more, the first and last products and depthwise convolutions lose more, and
    what only moves numbers loses nothing.

    Returns:
        Shape (S, K); NaN where a slot has no such choice.
    """
    most = max((len(slot.choices) for slot in graph.slots), default=1)
    table = np.full((len(graph.slots), most), np.nan)
    products = [i for i, slot in enumerate(graph.slots) if slot.work.macs]
    for i, slot in enumerate(graph.slots):
        own = 0.0 if slot.op in MOVES else _KIND.get(slot.kind, 1.0)
        own *= _FIRST if i in products[:1] else _LAST if i in products[-1:] else 1.0
        for k, choice in enumerate(slot.choices):
            table[i, k] = own * (BITS[choice.precision] + _ZEROS[choice.sparsity])
    return table
