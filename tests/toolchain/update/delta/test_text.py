"""Texts come back from a patch and from a prefix; patches of nonsense are refused."""

import struct
import time
from contextlib import suppress

import numpy as np
import pytest
from hwc.toolchain.update.codec import zstd
from hwc.toolchain.update.codec.method import Method
from hwc.toolchain.update.delta import patch, text
from hwc.toolchain.update.delta.align import align
from hwc.toolchain.update.refusal import Code, Refusal
from hypothesis import given
from hypothesis import strategies as st

WORDS = [
    b"conv.weight",
    b"\n\x12",
    b"offset",
    b"12345",
    b"0",
    b"renamed_7_",
    b"Relu" * 9,
    bytes(20),
]
TEXTS = st.one_of(
    st.binary(max_size=80), st.lists(st.sampled_from(WORDS), max_size=40).map(b"".join)
)


def listing(prefix: str, count: int = 300) -> bytes:
    """What a graph or a bundle.json looks like: much structure, some names and numbers."""
    rng = np.random.default_rng(0)
    lines = [
        f'{{"name":"{prefix.format(k)}layer.{k}","at":{k * 1001},"sha":"{rng.bytes(16).hex()}"}}'
        for k in range(count)
    ]
    return ",".join(lines).encode()


@given(new=TEXTS, old=TEXTS)
def test_a_text_comes_back(new: bytes, old: bytes) -> None:
    assert text.decode(*text.encode(new, old), old, len(new)) == new


@given(new=TEXTS, old=TEXTS.filter(len))
def test_a_patch_gives_the_new_text(new: bytes, old: bytes) -> None:
    assert patch.decode(patch.encode(new, old), old, len(new)) == new


@given(new=TEXTS, old=TEXTS.filter(len))
def test_runs_lie_within_both_texts_and_apart(new: bytes, old: bytes) -> None:
    runs = align(np.frombuffer(new, np.uint8), np.frombuffer(old, np.uint8))
    end = 0
    for run in runs:
        assert end <= run.begin <= run.end <= len(new)
        assert run.begin == run.end or run.begin + run.shift >= 0
        assert run.begin == run.end or run.end + run.shift <= len(old)
        end = run.end


def test_new_names_are_all_that_a_patch_costs() -> None:
    old, new = listing(""), listing("renamed_{}_")
    method, payload = text.encode(new, old)
    assert method == text.PATCH
    assert len(payload) < 0.8 * len(zstd.compress(new, prefix=old))
    assert text.decode(method, payload, old, len(new)) == new


def test_parts_in_another_order_cost_their_places() -> None:
    old = listing("")
    parts = [old[at : at + 1000] for at in range(0, len(old), 1000)]
    new = b"".join(reversed(parts))
    assert len(patch.encode(new, old)) < 12 * len(parts)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        pytest.param("noise", "other noise", id="noise"),
        pytest.param("few letters", "other few letters", id="many windows in common"),
    ],
)
def test_texts_that_have_nothing_to_do_with_each_other_take_no_longer(new: str, old: str) -> None:
    def made(name: str) -> bytes:
        rng = np.random.default_rng(len(name))
        return rng.integers(0, 256 if "noise" in name else 3, 1 << 18, dtype=np.uint8).tobytes()

    begin = time.process_time()
    patch.encode(made(new), made(old))
    assert time.process_time() - begin < 5


@given(data=st.binary(max_size=60), size=st.integers(0, 100))
def test_noise_is_no_patch(data: bytes, size: int) -> None:
    with suppress(Refusal):
        assert len(patch.decode(data, b"some old text", size)) == size


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([(11, 0, 0)], id="more than the old text has"),
        pytest.param([(5, 5, -20), (1, 0, 0)], id="before the old text"),
        pytest.param([(5, 5, 20), (1, 0, 0)], id="behind the old text"),
        pytest.param([(2**32 - 1, 2**32 - 1, 0)], id="more than fits"),
        pytest.param([(5, 4, 0)], id="too little"),
        pytest.param([], id="nothing"),
    ],
)
def test_rows_that_lie_are_refused(rows: list[tuple[int, int, int]]) -> None:
    table = np.array(rows, "<u4,<u4,<i4").view(np.uint8).reshape(-1, 12).T.tobytes()
    made = struct.pack("<I", len(rows)) + zstd.compress(table + bytes(11))
    with pytest.raises(Refusal) as refusal:
        patch.decode(made, b"0123456789", 11)
    assert refusal.value.code is Code.MALFORMED


def test_a_billion_rows_are_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        patch.decode(struct.pack("<I", 10**9) + zstd.compress(bytes(100)), b"old", 100)
    assert refusal.value.code is Code.MALFORMED


def test_another_way_is_refused() -> None:
    with pytest.raises(Refusal) as refusal:
        text.decode(Method.LITERAL, b"abc", b"", 3)
    assert refusal.value.code is Code.UNKNOWN
