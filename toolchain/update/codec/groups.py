"""Integers in groups of alike ones, where something known on both sides says which are alike.

Steps of a training are as large for small weights as for large ones, so in units in the last place
they are the larger, the smaller a weight is: one code for all of them would pay for that. Steps
that were rounded to one size are multiples of a power of two that depends on the weight, too.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .coder import Coder, Codes, fold
from .payload import Payload, malformed

_MOST = 16  # groups; the number of one takes four bits
_SHIFTS = 0x80  # beside the count of groups
_RARE = 0.01  # share of values that is worth no look at their low bits
_COST = 250.0  # bits that one more group takes: about what pcodec needs to describe its bins

Form = tuple[int, np.dtype[Any]]  # how many integers, and of which type


def encode(values: Codes, keys: Codes | None, coder: Coder) -> bytes:
    """Code values; those with the same key come into the same group.

    The payload: a byte that counts groups, beside which a bit says whether keys have shifts; where
    they do, a byte for each key that occurs, ascending: how many low bits, all 0, are left out;
    where there are several groups, four bits for each such key: its group; the groups.
    """
    if keys is None or not values.size:
        return b"\x01" + coder.encode(values)
    there = np.bincount(keys) > 0
    head, shifts = b"", _shifts(values, keys)
    if shifts.any():
        values, head = _shifted(values, shifts[keys]), shifts[there].tobytes()
    table = _grouped(values, keys)
    count = int(table.max()) + 1
    form = bytes([count | (_SHIFTS if head else 0)])
    if count == 1:
        return form + head + coder.encode(values)
    group = table[keys]
    parts = [coder.encode(values[group == k]) for k in range(count)]
    return b"".join((form, head, _nibbles(table[there]), *parts))


def decode(payload: Payload, keys: Codes | None, form: Form, coder: Coder) -> Codes:
    """Take values off a payload, whose keys are these.

    Raises:
        Refusal: It does not hold them.
    """
    count, kind = form
    head = payload.byte()
    groups = head & ~_SHIFTS
    if head == 1:
        return coder.decode(payload, count, kind)
    if keys is None or not count or not 1 <= groups <= _MOST:
        raise malformed(f"has {groups} groups")
    there = np.bincount(keys) > 0
    table = np.zeros((2, len(there)), np.uint8)
    if head & _SHIFTS:
        table[0, there] = np.frombuffer(payload.take(int(there.sum())), np.uint8)
    if groups > 1:
        table[1, there] = _from_nibbles(payload, int(there.sum()))
    if table[0].max() >= 8 * kind.itemsize or table[1].max() >= groups:
        raise malformed(f"has a key beyond its {groups} groups")
    values = _together(payload, table[1][keys], form, coder)
    return values << table[0][keys].astype(kind) if head & _SHIFTS else values


def _together(payload: Payload, group: Codes, form: Form, coder: Coder) -> Codes:
    """Values in their own order, taken off a payload group by group."""
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group).tolist()
    values = np.empty(*form)
    values[order] = np.concatenate([coder.decode(payload, size, form[1]) for size in sizes])
    return values


def _shifts(values: Codes, keys: Codes) -> NDArray[np.uint8]:
    """How many low bits of the values of each key are 0, where leaving them out is worth it."""
    counts = np.bincount(keys)
    even = np.bincount(keys, values & values.dtype.type(1)) == 0
    shifts = np.zeros(len(counts), np.uint8)
    if counts[even].sum() < _RARE * len(values):
        return shifts
    lowest = np.full(len(counts), 0, values.dtype)
    np.bitwise_or.at(lowest, keys, values)
    low = lowest & -lowest
    shifts[low > 0] = np.log2(low[low > 0].astype(np.float64)).astype(np.uint8)
    saved = np.bincount(keys, (values != 0) * shifts[keys]).sum()
    return shifts if saved > _COST + 8 * np.count_nonzero(counts) else np.zeros_like(shifts)


def _shifted(values: Codes, by: NDArray[np.uint8]) -> Codes:
    """Values of either sign without their low bits."""
    signed = values.view(f"i{values.itemsize}")
    shifted: Codes = (signed >> by.astype(signed.dtype)).view(values.dtype)
    return shifted


def _grouped(values: Codes, keys: Codes) -> NDArray[np.uint8]:
    """The group of each key: those alike in size are joined until that costs more than it saves."""
    counts = np.bincount(keys)
    sums = np.bincount(keys, fold(values))
    used = np.flatnonzero(counts)
    used = used[np.argsort(sums[used] / counts[used], kind="stable")]
    table = np.zeros(len(counts), np.uint8)
    begin = 0
    for number, size in enumerate(_joined(counts[used].tolist(), sums[used].tolist())):
        table[used[begin : begin + size]] = number
        begin += size
    return table


def _joined(counts: list[int], sums: list[float]) -> list[int]:
    """How many neighbours come into each group."""
    sizes = [1] * len(counts)
    bits = [_bits(*each) for each in zip(counts, sums, strict=True)]

    def saved(k: int) -> float:
        together = _bits(counts[k] + counts[k + 1], sums[k] + sums[k + 1])
        return bits[k] + bits[k + 1] + _COST - together

    gains = [saved(k) for k in range(len(sizes) - 1)]
    while gains:
        best = max(range(len(gains)), key=gains.__getitem__)
        if gains[best] <= 0 and len(sizes) <= _MOST:
            break
        sizes[best] += sizes.pop(best + 1)
        counts[best] += counts.pop(best + 1)
        sums[best] += sums.pop(best + 1)
        del bits[best + 1], gains[best]
        bits[best] = _bits(counts[best], sums[best])
        for k in (best - 1, best):
            if 0 <= k < len(gains):
                gains[k] = saved(k)
    return sizes


def _bits(count: int, total: float) -> float:
    """Bits of `count` integers that sum up to `total`: the entropy of a geometric distribution."""
    mean = total / count
    return count * ((mean + 1) * math.log2(mean + 1) - mean * math.log2(mean or 1.0))


def _nibbles(values: NDArray[np.uint8]) -> bytes:
    padded = np.append(values, np.zeros(len(values) % 2, np.uint8))
    return (padded[0::2] | padded[1::2] << 4).astype(np.uint8).tobytes()


def _from_nibbles(payload: Payload, count: int) -> NDArray[np.uint8]:
    packed = np.frombuffer(payload.take(-(-count // 2)), np.uint8)
    return np.stack((packed & 0xF, packed >> 4), axis=1).reshape(-1)[:count]
