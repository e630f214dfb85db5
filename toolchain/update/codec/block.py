"""One block of new bytes told from old ones, or from none, by the method that takes the least."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..limits import LIMITS
from ..refusal import Code, Refusal
from ..release import Dtype
from . import gaps, groups, zstd
from .coder import Coder
from .fields import Fields
from .integers import Integers
from .method import Method
from .payload import Payload, malformed
from .pco import Pco, available
from .planes import Planes
from .ulp import Ulp

Coded = tuple[Method, bytes]

_QUICK = 3  # level of zstd that shows whether it finds anything that repeats
_REPEATS = 0.95  # share of what the frequencies of bytes tell that it then takes
_HOPE = 1.2  # what a higher level may save
_PROBES, _STRETCH = 12, 12  # how many stretches, of so many bytes, are looked for in an old block
_FEW = 0.5  # share of numbers that moved up to which it is tried to tell which ones did
_MANY = 0.002  # and from which it is tried to tell how far each number moved
_GOOD = 0.6  # share of a block below which it is not told without the old one


@dataclass(frozen=True, slots=True)
class _Kit:
    """A coder, and the methods that use it."""

    coder: Coder
    plain: Method
    ulp: Method
    gaps: Method


_PLANES = _Kit(Planes(), Method.PLANES, Method.ULP_PLANES, Method.GAPS_PLANES)
_PCO = _Kit(Pco(), Method.PCO, Method.ULP_PCO, Method.GAPS_PCO)


def encode(
    new: bytes, old: bytes | None, dtype: Dtype, *, pco: bool = True, level: int = 19
) -> Coded:
    """Code a block by the method that takes the fewest bytes.

    Args:
        new: Whole elements; if not, they are taken for bytes.
        old: What both sides have: as many bytes, or others that new ones may be found in; None
            where there is nothing.
        dtype: How to read both.
        pco: Whether devices have pcodec; where this machine has not, it is not used either.
        level: Of zstd, where that finds anything.
    """
    best: Coded = (Method.LITERAL, new)
    if not new:
        return best
    kit = _PCO if pco and available() else _PLANES
    if old is not None and len(old) == len(new):
        best = min(best, *_told(new, old, dtype, kit), key=_size)
        if len(best[1]) < _GOOD * len(new):
            return best
    head, numbers = _numbers(new, None, dtype)
    best = min(best, (kit.plain, head + kit.coder.encode(numbers.read(new))), key=_size)
    return min(best, *_zstd(new, old, level, len(best[1])), key=_size)


def decode(method: Method, payload: bytes, old: bytes | None, dtype: Dtype, size: int) -> bytes:
    """The new bytes: exactly `size` of them.

    Raises:
        Refusal: The payload does not hold them. Whatever it says, decoding takes no more memory
            than a few times `size`.
    """
    if not 0 <= size <= LIMITS.block or len(payload) > LIMITS.payload:
        raise Refusal(Code.LIMIT, f"a block is to have {size} B, from {len(payload)} B")
    told_from = old or b""
    if method.needs_old and len(told_from) != size and method is not Method.ZSTD_PREFIX:
        raise malformed(f"is told from {len(told_from)} B, not {size}")
    match method:
        case Method.LITERAL:
            decoded = payload
        case Method.ZSTD:
            decoded = zstd.decompress(payload, size)
        case Method.ZSTD_PREFIX:
            decoded = zstd.decompress(payload, size, prefix=told_from)
        case Method.XOR_ZSTD:
            decoded = _xor(zstd.decompress(payload, size), told_from)
        case _:
            decoded = _decoded(method, Payload(payload), told_from, (dtype, size))
    if len(decoded) != size:
        raise malformed(f"holds {len(decoded)} B, not {size}")
    return decoded


def _told(new: bytes, old: bytes, dtype: Dtype, kit: _Kit) -> Iterator[Coded]:
    """Ways that compare each number with an old one."""
    head, numbers = _numbers(new, old, dtype)
    apart = numbers.apart(numbers.read(new), numbers.read(old))
    moved = np.count_nonzero(apart)
    if not moved:
        kit = _PLANES  # needs no bytes but the count of none, and any build reads it
    if moved <= _FEW * apart.size:
        yield kit.gaps, head + gaps.encode(apart, kit.coder)
    if moved > _MANY * apart.size:
        yield kit.ulp, head + groups.encode(apart, numbers.keys(old), kit.coder)


def _zstd(new: bytes, old: bytes | None, level: int, best: int) -> Iterator[Coded]:
    """Ways that look for what repeats; the thorough ones where a quick one finds something."""
    ways = [(Method.ZSTD, new, b"")]
    if old and _seen(new, old):
        ways.append((Method.ZSTD_PREFIX, new, old))
    if old and len(old) == len(new):
        ways.append((Method.XOR_ZSTD, _xor(new, old), b""))
    for method, data, prefix in ways:
        quick = zstd.compress(data, prefix=prefix, level=min(level, _QUICK))
        yield method, quick
        if len(quick) < min(_HOPE * best, _REPEATS * _entropy(data)):
            yield method, zstd.compress(data, prefix=prefix, level=level)


def _decoded(method: Method, payload: Payload, old: bytes, form: tuple[Dtype, int]) -> bytes:
    dtype, size = form
    numbers: Integers = Ulp(_whole(dtype, size))
    if dtype is Dtype.PACKED:
        numbers = Fields.parse(payload.byte())
    kit = _PCO if method.needs_pcodec else _PLANES
    before = numbers.read(old if method.needs_old else bytes(size))
    of = len(before), before.dtype
    if method is kit.plain:
        codes = kit.coder.decode(payload, *of)
    elif method is kit.ulp:
        codes = numbers.moved(before, groups.decode(payload, numbers.keys(old), of, kit.coder))
    else:
        codes = numbers.moved(before, gaps.decode(payload, *of, kit.coder))
    payload.end()
    return numbers.write(codes, size)


def _numbers(new: bytes, old: bytes | None, dtype: Dtype) -> tuple[bytes, Integers]:
    """How to read a block as numbers, and what the payload says of that."""
    if dtype is Dtype.PACKED:
        fields = Fields.likely(new, old)
        return bytes([fields.form]), fields
    return b"", Ulp(_whole(dtype, len(new)))


def _whole(dtype: Dtype, size: int) -> Dtype:
    """The type, or bytes where a block is no whole number of elements."""
    return dtype if size % dtype.size == 0 else Dtype.U8


def _seen(new: bytes, old: bytes) -> bool:
    """Whether any of a few stretches of the new bytes stands somewhere in the old ones."""
    step = max(1, len(new) // _PROBES)
    return any(new[at : at + _STRETCH] in old for at in range(0, len(new), step))


def _xor(one: bytes, two: bytes) -> bytes:
    return (np.frombuffer(one, np.uint8) ^ np.frombuffer(two, np.uint8)).tobytes()


def _entropy(data: bytes) -> float:
    """Bytes that data take if each byte is coded by how frequent it is."""
    counts = np.bincount(np.frombuffer(data, np.uint8))
    counts = counts[counts > 0]
    return float(-(counts * np.log2(counts / len(data))).sum() / 8)


def _size(coded: Coded) -> int:
    return len(coded[1])
