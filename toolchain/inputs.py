"""What a model wants to be fed: the name, element type and shape of each input."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input of a model.

    Attributes:
        name: Name of the graph's input.
        dtype: NumPy's name of its element type: `float32`, `int64`, `bool`, ...
        shape: Its dimensions: an int is fixed, a name (`batch`) is shared and free, None is free.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]
