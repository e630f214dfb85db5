"""Ranks are in the order of the numbers; packed codes are read wherever a stretch begins."""

import numpy as np
import pytest
from hwc.toolchain.storage.bits import pack_bits
from hwc.toolchain.update.codec.fields import Fields
from hwc.toolchain.update.codec.ulp import Ulp
from hwc.toolchain.update.refusal import Refusal
from hwc.toolchain.update.release import Dtype
from hypothesis import given
from hypothesis import strategies as st

FORMS = [Fields(bits, lead) for bits in range(2, 9) for lead in range(Fields(bits).unit)]
FLOATS = {Dtype.F16: np.float16, Dtype.F32: np.float32, Dtype.F64: np.float64}


@pytest.mark.parametrize("dtype", [Dtype.BF16, Dtype.F16, Dtype.I16, Dtype.F8E4M3, Dtype.U8])
def test_every_pattern_of_bits_has_its_own_rank(dtype: Dtype) -> None:
    data = np.arange(1 << 8 * dtype.size).astype(f"<u{dtype.size}").tobytes()
    ranks = Ulp(dtype).read(data)
    assert len(np.unique(ranks)) == 1 << 8 * dtype.size
    assert Ulp(dtype).write(ranks, len(data)) == data


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.value)
def test_neighbours_differ_by_one(dtype: Dtype) -> None:
    one = np.array([-np.inf, -1.5, -0.0, 0.0, 1e-7, 2.0], FLOATS[dtype])
    two = np.nextafter(one, FLOATS[dtype](np.inf))
    ulp = Ulp(dtype)
    ranks = [ulp.read(array.tobytes()).astype(object) for array in (one, two)]
    away = 1 + (one == 0) * np.signbit(one)  # the next one after -0 that differs is behind 0
    assert np.array_equal(ranks[1] - ranks[0], away)


@pytest.mark.parametrize("dtype", [Dtype.I8, Dtype.I32, Dtype.U8], ids=lambda dtype: dtype.value)
def test_integers_keep_their_order(dtype: Dtype) -> None:
    kind = np.dtype(f"<{'u' if dtype is Dtype.U8 else 'i'}{dtype.size}")
    limits = np.iinfo(kind)
    array = np.unique(np.array([limits.min, limits.min + 1, 0, 1, limits.max], kind))
    ranks = Ulp(dtype).read(array.tobytes()).astype(object)
    assert (np.diff(ranks) > 0).all()


def test_keys_are_exponents_and_halves_of_them() -> None:
    array = np.array([1.0, 1.49, 1.5, -1.5, 2.0, 3.0], np.float32)
    keys = Ulp(Dtype.F32).keys(array.tobytes())
    assert keys is not None
    assert (keys - keys[0]).tolist() == [0, 0, 1, 1, 2, 3]


@pytest.mark.parametrize("fields", FORMS, ids=lambda f: f"{f.bits} bits, lead {f.lead}")
@given(new=st.binary(max_size=50), seed=st.integers(0, 99))
def test_packed_codes_come_back(fields: Fields, new: bytes, seed: int) -> None:
    old = np.random.default_rng(seed).bytes(len(new))
    one, two = fields.read(new), fields.read(old)
    assert max(one.max(initial=0), two.max(initial=0)) < 2**fields.bits
    assert fields.write(one, len(new)) == new
    assert fields.write(fields.moved(two, fields.apart(one, two)), len(new)) == new
    assert Fields.parse(fields.form) == fields


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_width_of_codes_is_found_wherever_a_block_begins(bits: int) -> None:
    rng = np.random.default_rng(bits)
    old = rng.binomial(2**bits - 2, 0.5, 1 << 15).astype(np.uint8)
    new = old + (rng.random(len(old)) < 0.2).astype(np.uint8)
    one, two = pack_bits(new, bits), pack_bits(old, bits)
    for begin in (0, 4096):
        found = Fields.likely(one[begin:], two[begin:])
        assert found == Fields(bits, begin % Fields(bits).unit)


@pytest.mark.parametrize("form", [0, 1, 9, 0x14, 0x33, 0x78], ids=hex)
def test_fields_that_there_are_not_are_refused(form: int) -> None:
    with pytest.raises(Refusal):
        Fields.parse(form)
