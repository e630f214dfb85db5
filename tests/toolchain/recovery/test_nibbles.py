"""The 4-bit layout is the one that the passes write."""

import numpy as np
import pytest
from hwc.passes.weight_only import int4_blocks, pack_matmul_nbits
from hwc.toolchain.recovery.nibbles import pack, unpack


@pytest.mark.parametrize("depth", [32, 45, 64])
def test_there_and_back(depth: int) -> None:
    weight = np.random.default_rng(0).standard_normal((depth, 5)).astype(np.float32)
    steps, scale = int4_blocks(weight)
    packed, _ = pack_matmul_nbits(steps, scale)
    found = unpack(packed, depth)
    assert np.array_equal(found, steps.T)
    assert np.array_equal(pack(found, packed.shape), packed)
