"""From a file, a torch module or a surgery script to one checked graph."""
