"""Zeros in weights: the patterns that kernels skip or files leave out, and how to lose least."""
