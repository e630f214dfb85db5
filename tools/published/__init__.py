"""Published latencies: the networks they are of, written down as kernels, and the fit on them."""
