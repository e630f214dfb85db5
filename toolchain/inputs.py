"""What a model wants to be fed: the name, element type and shape of each input."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from .errors import UsageError


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


def fixed_shapes(inputs: Sequence[InputSpec], batch: int | None) -> dict[str, tuple[int, ...]]:
    """The shape of every input at a batch size.

    A free first dimension is the batch; where it has a name, so is every dimension of that name.

    Args:
        inputs: What the model wants.
        batch: The batch size; None: 1 where it is free.

    Raises:
        UsageError: Another dimension is free, or the model has another batch size.
    """
    first = {spec.shape[0] for spec in inputs if spec.shape}
    if batch is not None and batch not in first and all(isinstance(size, int) for size in first):
        hint = "export the model with one, and do not fix it with --input"
        raise UsageError(f"--batch {batch}: no input has a free batch size", hint)
    names = {size for size in first if isinstance(size, str)}
    return {spec.name: tuple(_fixed(spec, names, batch or 1)) for spec in inputs}


def _fixed(spec: InputSpec, names: Collection[str], batch: int) -> Iterator[int]:
    """The sizes of an input in which the batch, and every dimension of its names, has a size."""
    for axis, size in enumerate(spec.shape):
        if isinstance(size, int):
            yield size
        elif axis == 0 or size in names:
            yield batch
        else:
            shape = ", ".join(str(dim or "?") for dim in spec.shape)
            hint = f"give its sizes with --input {spec.name}={_example(spec, batch)}"
            raise UsageError(f"input {spec.name!r} has the shape [{shape}]", hint)


def _example(spec: InputSpec, batch: int) -> str:
    """A shape that fits an input."""
    return "x".join(
        str(size if isinstance(size, int) else batch if axis == 0 else 64)
        for axis, size in enumerate(spec.shape)
    )
