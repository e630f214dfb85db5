"""Samples that a function of the user yields."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from ..engine import Array
from ..errors import InputError
from ..frontend.user_code import attempt, load_function
from ..inputs import InputSpec
from .conform import conform_all
from .samples import Sample
from .spool import Spool

_LABEL = "\0label"  # no input can have this name
_MOST = 100_000


class GeneratedSamples:
    """What a function yielded: it is called once, and its samples are kept in a spool.

    So each sample is the same whenever it is asked for, even if the function draws at random.
    """

    def __init__(self, rows: Spool) -> None:
        self._rows = rows

    def __len__(self) -> int:
        """How many there are."""
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample."""
        row = self._rows[index]
        label = row.pop(_LABEL, None)
        return Sample(row, label)


def generated_samples(
    spec: str, inputs: Sequence[InputSpec], *, count: int | None = None
) -> GeneratedSamples:
    """Call `module:function` and keep the samples that it yields.

    Args:
        spec: A function without parameters that yields (or returns a list of) feeds by input
            name, or pairs of feeds and label.
        inputs: What the model wants.
        count: How many to take; the function may yield for ever if this is given.

    Raises:
        InputError: The function cannot be found, raises, yields something else, or never ends.
    """
    rows = Spool()
    for index, item in enumerate(_call(spec, _MOST + 1 if count is None else count)):
        if index == _MOST:
            raise InputError(f"{spec} yields more than {_MOST} samples", "say how many to take")
        rows.append(_row(item, inputs, f"{spec}, sample {index}"))
    return GeneratedSamples(rows)


def _call(spec: str, limit: int) -> Iterator[Any]:
    """The first items that the user's function yields."""
    function = load_function(spec)
    with attempt(f"running {spec}"):
        made = function()
        if not isinstance(made, Iterable):
            raise InputError(f"{spec} returned {made!r:.80}", "yield dicts of arrays by input name")
        yield from islice(made, limit)


def _row(item: object, inputs: Sequence[InputSpec], where: str) -> dict[str, Array]:
    """The checked arrays of one yielded item."""
    feeds, label = item if isinstance(item, tuple) and len(item) == 2 else (item, None)  # noqa: PLR2004 - a pair
    if not isinstance(feeds, Mapping):
        raise InputError(
            f"{where} is a {type(feeds).__name__}",
            "yield a dict of arrays by input name, or a pair of that and a label",
        )
    row = conform_all({str(k): np.asarray(v) for k, v in feeds.items()}, inputs, where)
    if label is not None:
        array = np.asarray(label)
        if array.dtype.hasobject:
            raise InputError(f"{where}: its label is not a number, a text or an array of these")
        row[_LABEL] = array
    return row
