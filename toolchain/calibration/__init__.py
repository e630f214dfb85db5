"""Calibration: from sample inputs to the scale and zero point of every quantised tensor."""

from .channels import ChannelRanges, collect_channels
from .histogram import BINS, Histogram, collect
from .parameters import per_channel_scales, quantization_parameters
from .ranges import Method, Range, ranges

__all__ = [
    "BINS",
    "ChannelRanges",
    "Histogram",
    "Method",
    "Range",
    "collect",
    "collect_channels",
    "per_channel_scales",
    "quantization_parameters",
    "ranges",
]
