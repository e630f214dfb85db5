"""Calibration: from sample inputs to the scale and zero point of every quantised tensor."""

from .histogram import BINS, Histogram, collect
from .parameters import per_channel_scales, quantization_parameters
from .ranges import Method, Range, ranges

__all__ = [
    "BINS",
    "Histogram",
    "Method",
    "Range",
    "collect",
    "per_channel_scales",
    "quantization_parameters",
    "ranges",
]
