"""Frozen dataclasses as canonical JSON: exact both ways, and strict about what is read."""

import dataclasses
import json
import math
import types
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import InputError

T = TypeVar("T")

# Metadata of a field that came after bundles had been made: where it lacks, its default is read.
LATER = types.MappingProxyType({"later": True})
_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def canonical(value: object) -> str:
    """Canonical JSON of a dataclass: sorted keys, no white space, equal values give equal text."""
    return json.dumps(
        encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def encode(value: object) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """The JSON form of a dataclass and of what it holds; JSON has no inf and nan: they are text."""
    if dataclasses.is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(encode(key)): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} has no JSON form")


def decode(kind: type[T], value: object) -> T:
    """Read what `encode` wrote.

    Raises:
        InputError: A key is unknown or missing, or a value has another type; names the key.
    """
    result: T = _decode(kind, value, kind.__name__)
    return result


def parse(kind: type[T], text: str | bytes) -> T:
    """Read what `canonical` wrote.

    Raises:
        InputError: The text is not JSON, or not of this type.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise InputError(f"{kind.__name__} is not JSON: {cause}") from cause
    return decode(kind, value)


def _decode(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - hints are of any kind
    if get_origin(hint) is not None:
        return _decode_generic(hint, value, where)
    if dataclasses.is_dataclass(hint):
        return _decode_object(hint, value, where)
    if issubclass(hint, Enum):
        return _decode_enum(hint, value, where)
    if hint is float:
        return _decode_float(value, where)
    return _expect(value, hint, where)


def _decode_generic(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - hints are of any kind
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):  # X | None is the only union that fields have
        return None if value is None else _decode(arguments[0], value, where)
    if origin is tuple:
        return _decode_tuple(arguments, value, where)
    key, item = arguments  # Mapping[K, V] is the only other generic
    _expect(value, dict, where)
    return {_decode(key, k, where): _decode(item, v, f"{where}.{k}") for k, v in value.items()}


def _decode_object(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - any dataclass
    _expect(value, dict, where)
    fields = {field.name: field for field in dataclasses.fields(hint)}
    if unknown := sorted(value.keys() - fields.keys()):
        raise InputError(f"{where} has an unknown key {unknown[0]!r}")
    missing = [name for name in fields if name not in value]
    if missing := [name for name in missing if "later" not in fields[name].metadata]:
        raise InputError(f"{where} lacks the key {missing[0]!r}")
    hints = _hints(hint)
    there = {name: _decode(hints[name], value[name], f"{where}.{name}") for name in value}
    return hint(**there)


def _decode_tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:  # noqa: ANN401 - from JSON
    _expect(value, list, where)
    if arguments[-1] is Ellipsis:
        arguments = arguments[:1] * len(value)
    if len(arguments) != len(value):
        raise InputError(f"{where} has {len(value)} items, not {len(arguments)}")
    pairs = zip(arguments, value, strict=True)
    return tuple(_decode(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(pairs))


def _decode_enum(hint: type[Enum], value: Any, where: str) -> Enum:  # noqa: ANN401 - from JSON
    try:
        return hint(value)
    except ValueError as cause:
        allowed = ", ".join(str(member.value) for member in hint)
        raise InputError(f"{where} is {value!r}, not one of {allowed}") from cause


def _decode_float(value: Any, where: str) -> float:  # noqa: ANN401 - from JSON
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{where} is {value!r}, not a number")
    return float(value)


def _expect(value: Any, kind: type, where: str) -> Any:  # noqa: ANN401 - from JSON
    if kind is int and isinstance(value, bool):
        raise InputError(f"{where} is {value!r}, not an integer")
    if not isinstance(value, kind):
        raise InputError(f"{where} is {value!r:.60}, not {kind.__name__}")
    if isinstance(value, str):
        _check_text(value, where)
    return value


def _check_text(value: str, where: str) -> None:
    """Refuse half of a surrogate pair, which JSON can escape and no encoding can write."""
    try:
        value.encode()
    except UnicodeEncodeError as cause:
        raise InputError(f"{where} is {value!r:.60}, which is no text") from cause


_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)
