"""zstd that says nothing of its size, and takes no memory that it does not need."""

import numpy as np
import pytest
import zstandard
from hwc.toolchain.update.codec import zstd
from hwc.toolchain.update.limits import LIMITS
from hwc.toolchain.update.refusal import Code, Refusal


@pytest.mark.parametrize("level", [0, 1, 3, 19])
@pytest.mark.parametrize("prefix", [0, 50, 300_000])
@pytest.mark.parametrize("size", [0, 1, 1000, 262_144])
def test_bytes_come_back(size: int, prefix: int, level: int) -> None:
    rng = np.random.default_rng(size)
    before, data = rng.bytes(prefix), rng.bytes(size)
    packed = zstd.compress(data, prefix=before, level=level)
    assert zstd.decompress(packed, size, prefix=before) == data


def test_all_of_a_prefix_can_be_referred_to() -> None:
    prefix = np.random.default_rng(0).bytes(1 << 20)
    packed = zstd.compress(prefix[:1000], prefix=prefix)
    assert len(packed) < 40
    assert zstd.decompress(packed, 1000, prefix=prefix) == prefix[:1000]


@pytest.mark.parametrize("size", [0, 999, 1001, 1 << 20], ids=str)
def test_another_size_is_refused(size: int) -> None:
    with pytest.raises(Refusal) as refusal:
        zstd.decompress(zstd.compress(bytes(1000)), size)
    assert refusal.value.code is Code.MALFORMED


def frame(window_log: int, **options: bool) -> bytes:
    """A frame of another encoder."""
    parameters = zstandard.ZstdCompressionParameters(
        format=zstandard.FORMAT_ZSTD1_MAGICLESS, window_log=window_log, **options
    )
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(bytes(1000)) + stream.flush()


@pytest.mark.parametrize("log", [12, 24, 27])
def test_a_window_that_no_block_needs_is_refused_before_it_is_made(log: int) -> None:
    with pytest.raises(Refusal) as refusal:
        zstd.decompress(frame(log), 1000)
    assert refusal.value.code is Code.LIMIT


def test_a_frame_that_says_another_size_is_refused() -> None:
    """The library would allocate what it says."""
    terabyte = b"\xe0" + (1 << 40).to_bytes(8, "little") + b"cccc"
    with pytest.raises(Refusal):
        zstd.decompress(terabyte, 1000)


def test_something_behind_a_frame_is_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        zstd.decompress(zstd.compress(bytes(1000)) + b"x", 1000)
    assert refusal.value.code is Code.MALFORMED


def test_windows_are_within_limits() -> None:
    packed = zstd.compress(bytes(4 * LIMITS.window), level=1)
    head = zstandard.get_frame_parameters(packed, format=zstandard.FORMAT_ZSTD1_MAGICLESS)
    assert head.window_size <= LIMITS.window
