"""Blocks come back bit by bit, in few bytes, and hostile payloads end in a refusal."""

import math

import numpy as np
import pytest
from hwc.toolchain.storage.bits import pack_bits
from hwc.toolchain.update.codec import block, zstd
from hwc.toolchain.update.codec.method import Method
from hwc.toolchain.update.limits import LIMITS
from hwc.toolchain.update.refusal import Refusal
from hwc.toolchain.update.release import Dtype
from hypothesis import given, settings
from hypothesis import strategies as st

COUNT = 1 << 16
DTYPES = pytest.mark.parametrize("dtype", list(Dtype), ids=lambda dtype: dtype.value)
PCO = pytest.mark.parametrize("pco", [True, False], ids=["pcodec", "plain"])


def back(new: bytes, old: bytes | None, dtype: Dtype, *, pco: bool = True) -> tuple[Method, int]:
    """Encode and decode; the method and the bytes that it took."""
    method, payload = block.encode(new, old, dtype, pco=pco)
    assert pco or not method.needs_pcodec
    assert len(payload) <= len(new)
    assert block.decode(method, payload, old, dtype, len(new)) == new
    return method, len(payload)


@DTYPES
@PCO
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_bits_come_back(dtype: Dtype, pco: bool, data: st.DataObject) -> None:  # noqa: FBT001
    """NaN with payloads, -0, denormals and infinities are bits like others."""
    count = data.draw(st.integers(0, 40))
    new = data.draw(st.binary(min_size=count * dtype.size, max_size=count * dtype.size))
    flips = data.draw(st.lists(st.integers(0, max(0, len(new) - 1)), max_size=3))
    old = bytearray(new)
    for at in flips if new else ():
        old[at] ^= data.draw(st.integers(1, 255))
    back(new, None, dtype, pco=pco)
    back(new, bytes(old), dtype, pco=pco)
    back(new, data.draw(st.binary(max_size=40)), dtype, pco=pco)


@PCO
@pytest.mark.parametrize("size", [1, 3, 5, 4097], ids=str)
def test_bytes_that_are_no_whole_numbers(size: int, pco: bool) -> None:  # noqa: FBT001
    rng = np.random.default_rng(size)
    new, old = rng.bytes(size), rng.bytes(size)
    back(new, None, Dtype.F32, pco=pco)
    back(new, old, Dtype.F32, pco=pco)


SPECIAL = np.array([0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38], np.float32)


@PCO
def test_special_numbers_beside_weights(pco: bool) -> None:  # noqa: FBT001
    rng = np.random.default_rng(0)
    old = rng.standard_normal(COUNT).astype(np.float32)
    new = old + (1e-4 * rng.standard_normal(COUNT)).astype(np.float32)
    for array in (old, new):
        array[rng.integers(0, COUNT, 500)] = rng.choice(SPECIAL, 500)
    back(new.tobytes(), old.tobytes(), Dtype.F32, pco=pco)


@pytest.mark.parametrize("spread", [3, 300, 30_000], ids="{} ulp".format)
def test_known_noise_takes_its_entropy(spread: int) -> None:
    """Normal steps of known spread: h = log2(spread sqrt(2 pi e)) bits each."""
    rng = np.random.default_rng(1)
    old = (0.05 * rng.standard_normal(COUNT)).astype(np.float32)
    by = np.rint(rng.normal(0, spread, COUNT)).astype(np.int32)
    new = (old.view(np.int32) + by).view(np.float32)
    _, size = back(new.tobytes(), old.tobytes(), Dtype.F32)
    least = COUNT / 8 * math.log2(spread * math.sqrt(2 * math.pi * math.e))
    assert size <= 1.02 * least


@pytest.mark.parametrize(
    ("most", "pco", "share"),
    [(n, True, 1.02) for n in (1, 2, 3, 5, 7, 12, 15, 40)]
    + [(n, False, 1.03) for n in (3, 5, 7, 12, 15, 40)],
)
def test_uniform_noise_takes_its_entropy(most: int, pco: bool, share: float) -> None:  # noqa: FBT001
    """Each number moves by -most to most ULPs, all of them as often: log2(2 most + 1) bits."""
    rng = np.random.default_rng(10)
    old = (0.05 * rng.standard_normal(COUNT)).astype(np.float32)
    by = rng.integers(-most, most + 1, COUNT, np.int32)
    new = (old.view(np.int32) + by).view(np.float32)
    _, size = back(new.tobytes(), old.tobytes(), Dtype.F32, pco=pco)
    assert size <= share * COUNT / 8 * math.log2(2 * most + 1)


def test_equal_moves_of_unequal_weights_are_told_by_exponent() -> None:
    """A step of 1e-5 is more ULPs for a small weight: one histogram of all would take more."""
    rng = np.random.default_rng(2)
    old = (0.05 * rng.standard_normal(COUNT)).astype(np.float32)
    new = (old + 1e-5 * rng.standard_normal(COUNT)).astype(np.float32)
    method, size = back(new.tobytes(), old.tobytes(), Dtype.F32)
    assert method is Method.ULP_PCO
    moved = new.view(np.int32) - old.view(np.int32)
    plain = COUNT / 8 * math.log2(np.std(moved[np.abs(moved) < 1e6]) * math.sqrt(2 * math.pi))
    assert size < plain


@PCO
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1], ids=str)
def test_few_int8_changes_take_about_their_entropy(share: float, pco: bool) -> None:  # noqa: FBT001
    rng = np.random.default_rng(3)
    old = rng.integers(-100, 100, COUNT).astype(np.int8)
    by = (rng.random(COUNT) < share) * rng.choice([-1, 1], COUNT)
    new = (old + by).astype(np.int8)
    _, size = back(new.tobytes(), old.tobytes(), Dtype.I8, pco=pco)
    least = COUNT / 8 * (-share * math.log2(share) - (1 - share) * math.log2(1 - share) + share)
    assert size <= (1.15 if pco else 2.0) * least + 100


def test_other_weights_take_no_more_than_by_themselves() -> None:
    rng = np.random.default_rng(4)
    old, new = ((0.05 * rng.standard_normal(COUNT)).astype(np.float32).tobytes() for _ in "on")
    _, told = back(new, old, Dtype.F32)
    _, alone = back(new, None, Dtype.F32)
    assert told <= alone < 0.9 * len(new)


def test_noise_is_kept_as_it_is() -> None:
    new = np.random.default_rng(5).bytes(COUNT)
    assert back(new, None, Dtype.U8) == (Method.LITERAL, COUNT)


@DTYPES
@PCO
def test_damage_is_refused_or_gives_as_many_bytes(dtype: Dtype, pco: bool) -> None:  # noqa: FBT001
    rng = np.random.default_rng(6)
    old = rng.integers(0, 256, 512 * dtype.size, np.uint8)
    new = old.copy()
    new[rng.random(len(new)) < 0.1] ^= 1
    method, payload = block.encode(new.tobytes(), old.tobytes(), dtype, pco=pco)
    for _ in range(60):
        bad = bytearray(payload)
        bad[rng.integers(len(bad))] ^= 1 << rng.integers(8)
        del bad[len(bad) - rng.integers(0, 3) :]
        try:
            made = block.decode(method, bytes(bad), old.tobytes(), dtype, len(new))
        except Refusal:
            continue
        assert len(made) == len(new)


@pytest.mark.parametrize("method", list(Method), ids=lambda method: method.name)
@settings(max_examples=20, deadline=None)
@given(payload=st.binary(max_size=300), dtype=st.sampled_from(Dtype), size=st.integers(0, 400))
def test_hostile_payloads(method: Method, payload: bytes, dtype: Dtype, size: int) -> None:
    for old in (None, bytes(size), bytes(3)):
        try:
            made = block.decode(method, payload, old, dtype, size)
        except Refusal:
            continue
        assert len(made) == size


@pytest.mark.parametrize(
    ("payload", "size"),
    [(b"", LIMITS.block + 1), (bytes(LIMITS.payload + 1), 8)],
    ids=["block", "payload"],
)
def test_limits(payload: bytes, size: int) -> None:
    with pytest.raises(Refusal, match="HWC-U002"):
        block.decode(Method.LITERAL, payload, None, Dtype.U8, size)


def test_a_bomb_gives_no_more_than_was_asked_for() -> None:
    payload = zstd.compress(bytes(LIMITS.block))
    assert len(payload) < 100
    with pytest.raises(Refusal, match="window of 1048576 B"):
        block.decode(Method.ZSTD, payload, None, Dtype.U8, 1000)


@pytest.mark.parametrize("bits", range(2, 8))
def test_packed_codes_are_told_code_by_code(bits: int) -> None:
    """A tenth of them moves by one: the entropy of that, whatever bytes the codes lie in."""
    rng = np.random.default_rng(bits)
    old = rng.binomial(2**bits - 2, 0.5, COUNT).astype(np.uint8)
    share = 0.1
    new = old + (rng.random(COUNT) < share)
    one, two = (pack_bits(codes.astype(np.uint8), bits) for codes in (new, old))
    _, size = back(one, two, Dtype.PACKED)
    least = COUNT / 8 * (-share * math.log2(share) - (1 - share) * math.log2(1 - share))
    assert size <= 1.05 * least


@PCO
def test_rounded_steps_take_no_bits_for_what_was_rounded(pco: bool) -> None:  # noqa: FBT001
    """Weights that all moved by 2^-20 or -2^-20, some thousands of ULPs, take a bit each."""
    rng = np.random.default_rng(7)
    old = np.ldexp(rng.integers(1 << 15, 1 << 20, COUNT), -20).astype(np.float32)
    new = old + np.float32(2.0**-20) * rng.choice([-1, 1], COUNT).astype(np.float32)
    _, size = back(new.tobytes(), old.tobytes(), Dtype.F32, pco=pco)
    assert size <= (1.1 if pco else 1.5) * COUNT / 8


@PCO
def test_bytes_that_moved_elsewhere_are_found(pco: bool) -> None:  # noqa: FBT001
    rng = np.random.default_rng(8)
    old = rng.standard_normal(COUNT).astype(np.float32)
    _, size = back(np.roll(old, 1000).tobytes(), old.tobytes(), Dtype.F32, pco=pco)
    assert size < 100


@DTYPES
def test_nothing_that_changed_takes_two_bytes(dtype: Dtype) -> None:
    old = np.random.default_rng(9).bytes(1 << 12)
    method, size = back(old, old, dtype)
    assert (method, size <= 2) == (Method.GAPS_PLANES, True)


def test_a_device_without_pcodec_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    old = np.arange(100, dtype=np.int32)
    method, payload = block.encode((old + 1).tobytes(), old.tobytes(), Dtype.I32)
    assert method.needs_pcodec
    monkeypatch.setattr("hwc.toolchain.update.codec.pco.available", lambda: False)
    with pytest.raises(Refusal, match="install pcodec"):
        block.decode(method, payload, old.tobytes(), Dtype.I32, old.nbytes)
