"""The stages of a compilation, in the order in which they run."""
