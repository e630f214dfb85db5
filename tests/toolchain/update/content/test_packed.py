"""Codes of a packed model are found where they are stored as they are, and only there."""

import numpy as np
import pytest
import safetensors.numpy
from hwc.toolchain.storage.bits import unpack_bits
from hwc.toolchain.storage.pack import pack_model
from hwc.toolchain.update.content import packed
from hwc.toolchain.update.content.find import find
from hwc.toolchain.update.content.safetensors import read_header
from hwc.toolchain.update.content.span import Span
from hwc.toolchain.update.release import Dtype
from onnx import helper, numpy_helper

RNG = np.random.default_rng(3)


def even(bits: int, count: int = 4096) -> np.ndarray:
    """Every number as often as every other: nothing that entropy coding would shorten."""
    codes = np.tile(np.arange(2**bits), count // 2**bits)
    return RNG.permutation(codes)


def pack(*arrays: np.ndarray) -> bytes:
    named = [numpy_helper.from_array(array, f"w{i}") for i, array in enumerate(arrays)]
    graph = helper.make_graph([], "g", [], [], named)
    return pack_model(helper.make_model(graph).SerializeToString())


def spans(data: bytes) -> tuple[Span, ...]:
    return find({"model.hwcw": memoryview(data)})["model.hwcw"]


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_raw_codes(bits: int) -> None:
    codes = even(bits)
    table = RNG.random(2**bits).astype(np.float32)
    table.sort()
    data = pack(table[codes].reshape(64, 64), RNG.random((9, 9)).astype(np.float32))
    (span,) = spans(data)
    assert (span.name, span.shape) == ("w0", (64, 64))
    assert span.dtype is (Dtype.U8 if bits == 8 else Dtype.PACKED)
    assert np.array_equal(unpack_bits(data[span.offset : span.end], bits, 4096), codes)


def test_entropy_coded_weights_stay_opaque() -> None:
    data = pack(RNG.normal(size=(64, 64)).astype(np.float32), np.zeros((64, 64), np.float32))
    assert spans(data) == ()


def test_codes_without_those_of_zeros_stay_opaque() -> None:
    """The others are all as often as each other, so that they are packed rather than coded."""
    table = np.sort(RNG.random(256).astype(np.float32))
    weight = np.zeros(4 * 4096, np.float32)
    others = RNG.permutation(weight.size)[: 16 * 255]
    weight[others] = np.tile(table[1:], 16)
    data = pack(weight.reshape(128, 128), table[even(8)].reshape(64, 64))
    assert [span.name for span in spans(data)] == ["w1"]


def test_every_truncation_and_many_changes() -> None:
    data = pack(even(4).astype(np.float32).reshape(64, 64))
    assert len(spans(data)) == 1
    assert all(spans(data[:size]) == () for size in range(0, len(data), 7))
    for place in range(0, len(data), 3):
        changed = bytearray(data)
        changed[place] ^= 0x55
        for span in spans(bytes(changed)):
            assert 0 <= span.offset <= span.end <= len(data)


def test_a_plain_safetensors_file_is_none() -> None:
    data = safetensors.numpy.save(
        {"weights": np.zeros(3, np.uint8)}, {"hwc": "not of a packed model"}
    )
    assert not packed.is_packed(read_header(memoryview(data)))
    assert [span.name for span in spans(data)] == ["weights"]
