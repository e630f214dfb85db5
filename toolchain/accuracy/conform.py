"""Checking that an array is what a model's input wants, and giving it the right type and rank."""

from collections.abc import Mapping, Sequence

import ml_dtypes
import numpy as np

from ..engine import Array
from ..errors import InputError
from ..inputs import InputSpec

_LABELS = ("label", "labels", "y")


def conform(array: Array, spec: InputSpec, where: str) -> Array:
    """Give the array of one sample the input's element type and rank.

    A missing leading axis is added where the input's first dimension is free or 1 (its batch axis).

    Args:
        array: One sample's array.
        spec: The input that it is for.
        where: Which sample of which file this is, for the message.

    Raises:
        InputError: The shape or type does not fit, or a value is NaN or infinite.
    """
    shaped = _with_batch_axis(array, spec)
    if not _fits(shaped.shape, spec.shape):
        raise InputError(
            f"{where}: {spec.name} has shape {_text(array.shape)}, the model wants "
            f"{_text(spec.shape)}",
            _shape_hint(spec),
        )
    return _finite(_cast(shaped, spec, where), spec, where)


def conform_all(
    arrays: Mapping[str, Array], specs: Sequence[InputSpec], where: str
) -> dict[str, Array]:
    """Check and convert all arrays of one sample.

    Raises:
        InputError: Names are missing or unknown, or an array does not fit; named dimensions of
            different inputs disagree.
    """
    check_names(arrays, specs, where)
    feeds = {spec.name: conform(arrays[spec.name], spec, where) for spec in specs}
    sizes: dict[str, tuple[int, str]] = {}
    for spec in specs:
        for size, dim in zip(feeds[spec.name].shape, spec.shape, strict=True):
            if not isinstance(dim, str):
                continue
            first, owner = sizes.setdefault(dim, (size, spec.name))
            if size != first:
                raise InputError(
                    f"{where}: dimension '{dim}' is {first} in {owner} but {size} in {spec.name}",
                    "give arrays that agree on it",
                )
    return feeds


def check_names(arrays: Mapping[str, object], specs: Sequence[InputSpec], where: str) -> None:
    """Check that there is an array for each input and none besides.

    Raises:
        InputError: The names differ; the message has both lists.
    """
    expected, found = {spec.name for spec in specs}, set(arrays)
    if expected != found:
        raise InputError(
            f"{where}: arrays {_names(found)} do not match the model's inputs {_names(expected)}",
            "name the arrays like the inputs; labels may be called 'label', 'labels' or 'y'",
        )


def label_name(found: Mapping[str, object], specs: Sequence[InputSpec]) -> str | None:
    """The name of the array that holds the labels, if there is one."""
    inputs = {spec.name for spec in specs}
    return next((name for name in _LABELS if name in found and name not in inputs), None)


def _with_batch_axis(array: Array, spec: InputSpec) -> Array:
    """The array with the batch axis that samples leave out."""
    fits = _has_batch_axis(spec) and array.ndim == len(spec.shape) - 1
    return array[None] if fits else array


def _has_batch_axis(spec: InputSpec) -> bool:
    """Whether the first dimension is free or 1."""
    return bool(spec.shape) and (spec.shape[0] == 1 or not isinstance(spec.shape[0], int))


def _fits(shape: tuple[int, ...], wanted: tuple[int | str | None, ...]) -> bool:
    """Whether the fixed dimensions are as wanted and the rank is right."""
    return len(shape) == len(wanted) and all(
        size > 0 and (not isinstance(dim, int) or size == dim)
        for size, dim in zip(shape, wanted, strict=True)
    )


def _cast(array: Array, spec: InputSpec, where: str) -> Array:
    """The array in the input's element type, where no information of kind or value is lost."""
    wanted = _dtype(spec)
    if array.dtype == wanted:
        return array
    floats = _is_float(array.dtype) and _is_float(wanted)
    if not floats and not np.can_cast(array.dtype, wanted, "same_kind"):
        raise InputError(
            f"{where}: {spec.name} is {array.dtype}, the model wants {spec.dtype}",
            f"convert it, for example with array.astype('{spec.dtype}')",
        )
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is reported as such
        cast = array.astype(wanted)
    if np.issubdtype(wanted, np.integer) and not np.array_equal(cast, array):
        raise InputError(f"{where}: {spec.name} has values that do not fit {spec.dtype}")
    return cast


def _dtype(spec: InputSpec) -> np.dtype[np.generic]:
    """NumPy's type of the input's elements."""
    try:
        return np.dtype(getattr(ml_dtypes, spec.dtype, spec.dtype))
    except TypeError as cause:
        raise InputError(
            f"input {spec.name} has element type {spec.dtype}, which cannot be fed from arrays"
        ) from cause


def _is_float(dtype: np.dtype[np.generic]) -> bool:
    """Whether the type is a real floating-point type, those of ml_dtypes included."""
    return np.issubdtype(dtype, np.floating) or (dtype.kind == "V" and "float" in dtype.name)


def _finite(array: Array, spec: InputSpec, where: str) -> Array:
    """The array, if all of its values are finite."""
    if _is_float(array.dtype) and not np.isfinite(array).all():
        what = "NaN" if np.isnan(array).any() else "an infinite value"
        raise InputError(f"{where}: {spec.name} holds {what}", "remove or repair the sample")
    return array


def _shape_hint(spec: InputSpec) -> str:
    """What a sample of this input looks like."""
    if not spec.shape:
        return "give one number a sample"
    left_out = "; its first axis may be left out" if _has_batch_axis(spec) else ""
    return f"give {_text(spec.shape)} for each sample{left_out}"


def _dims(shape: Sequence[int | str | None]) -> list[str]:
    """The dimensions as text; a free one is a question mark."""
    return ["?" if dim is None else str(dim) for dim in shape]


def _text(shape: Sequence[int | str | None]) -> str:
    """A shape as text."""
    return f"[{', '.join(_dims(shape))}]"


def _names(names: set[str]) -> str:
    """Names as text, in order."""
    return ", ".join(sorted(names)) or "(none)"
