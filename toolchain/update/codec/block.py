"""One block of new bytes, told from equally many old ones or from none, in the fewest bytes."""

from collections.abc import Iterator

import numpy as np

from ..limits import LIMITS
from ..refusal import Code, Refusal
from ..release import Dtype
from . import gaps, pco, planes, zstd
from .method import Method
from .ulp import Bits, Grouping, Steps, bits, moved, ordered, steps, unordered

_SPARSE = 0.35  # share of numbers that change, up to which gaps may win
_QUICK = 3  # zstd's level for numbers: higher ones hardly find more
_SAMPLE = 1 << 12  # bytes that tell whether anything can be saved
_WORTH = 0.97  # of the bytes
_SURE = 0.7  # of the bytes: weights by themselves take some 0.85
_NEAR = 1 << 12  # steps up to which, for most, one histogram may be better than one a group
_MOST = 0.99
_TOLD = frozenset(Dtype) - {Dtype.PACKED, Dtype.BOOL}  # whose elements are numbers


def encode(
    new: bytes, old: bytes | None, dtype: Dtype, *, pco: bool = True, level: int = 19
) -> tuple[Method, bytes]:
    """The smallest of the ways that make sense, with its payload.

    Args:
        new: The bytes to be told; whole elements, or it is taken for bytes.
        old: As many bytes that both sides have; None where there are none.
        dtype: What the bytes mean.
        pco: Whether devices have pcodec.
        level: Of zstd for what are no numbers.
    """
    best = Method.LITERAL, bytes(new)
    for way in _ways(new, old, dtype, pcodec=pco, level=level) if new else ():
        best = min(best, way, key=lambda each: len(each[1]))
        if way[0] in _DENSE and len(best[1]) < _SURE * len(new):
            break  # no way without the old numbers comes near
    return best


def decode(method: Method, payload: bytes, old: bytes | None, dtype: Dtype, size: int) -> bytes:
    """Exactly `size` bytes.

    Raises:
        Refusal: The payload is damaged, asks for too much, or is told from old bytes that are not
            there.
    """
    if size > LIMITS.block or len(payload) > LIMITS.payload:
        raise Refusal(Code.LIMIT, f"a block of {size} B from {len(payload)} B")
    if method.needs_old and (old is None or (len(old) != size and method in _ALIGNED)):
        raise Refusal(Code.MALFORMED, f"{method.name} without as many old bytes")
    if method in _NUMBERS and size % dtype.size:
        raise Refusal(Code.MALFORMED, f"{size} B are no whole numbers of {dtype.value}")
    made = _decoded(method, payload, old or b"", dtype, size)
    if len(made) != size:
        raise Refusal(Code.MALFORMED, f"{method.name} gives {len(made)} B, not {size}")
    return made


def _ways(
    new: bytes, old: bytes | None, dtype: Dtype, *, pcodec: bool, level: int
) -> Iterator[tuple[Method, bytes]]:
    """Ways to tell a block that are worth a try."""
    numbers = dtype in _TOLD and not len(new) % dtype.size
    aligned = old is not None and len(old) == len(new)
    if not (numbers or aligned):
        yield from _opaque(new, old, level)
    elif not numbers:
        yield from _opaque(new, old, level)
        yield from _told(new, old or b"", Dtype.U8, pcodec=pcodec, level=level)
    else:
        if aligned:
            yield from _told(new, old or b"", dtype, pcodec=pcodec, level=_QUICK)
        yield from _alone(new, dtype, pcodec=pcodec)


def _opaque(new: bytes, old: bytes | None, level: int) -> Iterator[tuple[Method, bytes]]:
    if old:
        yield Method.ZSTD_PREFIX, zstd.compress(new, prefix=old, level=level)
    if len(new) <= _SAMPLE or _compressible(new):
        yield Method.ZSTD, zstd.compress(new, level=level)


def _told(
    new: bytes, old: bytes, dtype: Dtype, *, pcodec: bool, level: int
) -> Iterator[tuple[Method, bytes]]:
    """Ways to tell numbers from old ones."""
    before = bits(old, dtype)
    by = steps(bits(new, dtype), before, dtype)
    changed = np.count_nonzero(by) / max(1, len(by))
    if changed < _SPARSE:
        method = Method.GAPS_PCO if pcodec else Method.GAPS_PLANES
        yield method, gaps.encode(_wide(by), pcodec=pcodec, level=level)
    grouping = Grouping.of(before, dtype)
    if pcodec:
        ways = [(Method.ULP_PCO, grouping.split(_wide(by)))]
        if len(grouping.ends) > 1 and np.count_nonzero(abs(by) < _NEAR) > _MOST * len(by):
            ways.append((Method.STEPS_PCO, [_wide(by)]))
        yield min(((m, pco.encode(g)) for m, g in ways), key=lambda way: len(way[1]))
    else:
        grouped = by if grouping.order is None else by[grouping.order]
        yield Method.ULP_PLANES, planes.encode(grouped, level)
        xor = np.frombuffer(new, np.uint8) ^ np.frombuffer(old, np.uint8)
        yield Method.XOR_ZSTD, zstd.compress(xor.tobytes(), level=level)


def _alone(new: bytes, dtype: Dtype, *, pcodec: bool) -> Iterator[tuple[Method, bytes]]:
    """Ways to tell numbers by themselves."""
    numbers = bits(new, dtype)
    if pcodec:
        yield Method.PCO, pco.encode([_wide(ordered(numbers, dtype).view(f"<i{dtype.size}"))])
    else:
        yield Method.PLANES, planes.encode(numbers, _QUICK)
    if _compressible(new):
        yield Method.ZSTD, zstd.compress(new, level=_QUICK)


def _decoded(method: Method, payload: bytes, old: bytes, dtype: Dtype, size: int) -> bytes:
    if dtype not in _TOLD:
        dtype = Dtype.U8
    made: bytes
    match method:
        case Method.LITERAL:
            made = payload
        case Method.ZSTD:
            made = zstd.decompress(payload, size)
        case Method.ZSTD_PREFIX:
            made = zstd.decompress(payload, size, prefix=old)
        case Method.XOR_ZSTD:
            xor = np.frombuffer(zstd.decompress(payload, size), np.uint8)
            made = (xor ^ np.frombuffer(old, np.uint8)).tobytes()
        case Method.PCO:
            numbers = np.empty(size // dtype.size, _wide_type(dtype))
            pco.decode(payload, [numbers])
            whole = numbers.astype(f"<i{dtype.size}").view(f"<u{dtype.size}")
            made = unordered(whole, dtype).tobytes()
        case Method.PLANES:
            made = planes.decode(payload, size // dtype.size, bits(b"", dtype).dtype).tobytes()
        case _:
            before = bits(old, dtype)
            made = moved(before, _steps(method, payload, before, dtype), dtype).tobytes()
    return made


def _steps(method: Method, payload: bytes, before: Bits, dtype: Dtype) -> Steps:
    if method in {Method.GAPS_PCO, Method.GAPS_PLANES}:
        pcodec = method is Method.GAPS_PCO
        return gaps.decode(payload, len(before), _wide_type(dtype), pcodec=pcodec)
    if method is Method.STEPS_PCO:
        numbers = np.empty(len(before), _wide_type(dtype))
        pco.decode(payload, [numbers])
        return numbers
    grouping = Grouping.of(before, dtype)
    if method is Method.ULP_PCO:
        groups = grouping.empty(_wide_type(dtype))
        pco.decode(payload, groups)
        return grouping.joined(groups)
    numbers = planes.decode(payload, len(before), np.dtype(f"<i{dtype.size}"))
    return grouping.joined(np.split(numbers, grouping.ends[:-1]))


def _wide_type(dtype: Dtype) -> np.dtype[np.signedinteger]:
    """Signed integers that pcodec takes: two bytes at least."""
    return np.dtype(f"<i{max(2, dtype.size)}")


def _wide(numbers: Steps) -> Steps:
    return numbers.astype(np.int16) if numbers.dtype.itemsize == 1 else numbers


def _compressible(data: bytes) -> bool:
    """Whether zstd finds anything in a few places of a block."""
    last = max(0, len(data) - _SAMPLE)
    parts = b"".join(bytes(data[at : at + _SAMPLE]) for at in (0, last // 2, last))
    return len(zstd.compress(parts, level=1)) < _WORTH * len(parts)


_ALIGNED = frozenset(method for method in Method if method.needs_old) - {Method.ZSTD_PREFIX}
_DENSE = frozenset({Method.ULP_PCO, Method.STEPS_PCO, Method.ULP_PLANES})
_NUMBERS = (_ALIGNED - {Method.XOR_ZSTD}) | {Method.PCO, Method.PLANES}
