"""Update files that a stranger made with care: every digest in them is right, nothing else is."""

import hashlib
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.update.codec import zstd
from hwc.toolchain.update.codec.method import Method
from hwc.toolchain.update.delta.apply import apply
from hwc.toolchain.update.delta.file import Spool, UpdateFile
from hwc.toolchain.update.delta.files import PlainSink
from hwc.toolchain.update.delta.header import (
    BLOCK,
    DTYPES,
    FILE,
    NO_FILE,
    SEGMENT,
    Header,
    Op,
    Strategy,
)
from hwc.toolchain.update.delta.transpose import AXES, Axes
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Compatibility, Dtype, Release, ReleaseFile
from hypothesis import given, settings
from hypothesis import strategies as st

SIZE = 1 << 18  # of the file: one block of fp32
MOST = 12 << 20  # bytes of memory that a device spends on it


def release(path: str = "m.onnx", size: int = SIZE) -> Release:
    file = ReleaseFile(path, size, hashlib.sha256(bytes(size)).hexdigest())
    return Release("p", "1", 1, 0, Compatibility(), None, {}, (file,))


def crafted(
    target: Path,
    payloads: list[tuple[int, bytes]],
    text: bytes,
    *,
    op: Op = Op.FRESH,
    size: int = SIZE,
) -> Path:
    """An update that writes one file by one segment."""
    return crafted_of(target, payloads, text, [(op, DTYPES.index(Dtype.F32), 0, 0, size)])


def crafted_of(
    target: Path,
    payloads: list[tuple[int, bytes]],
    text: bytes,
    rows: Sequence[tuple[int, int, int, int, int]],
) -> Path:
    """An update that writes one file by these segments."""
    header = Header(
        base="",
        release=hashlib.sha256(text).hexdigest(),
        strategy=Strategy.FULL,
        text=len(text),
        files=np.array([(0, NO_FILE, len(rows))], FILE),
        segments=np.array(rows, SEGMENT),
        blocks=np.array([], BLOCK),
        digests=b"",
    )
    with Spool(target.parent) as spool:
        for method, payload in payloads:
            spool.add(method, payload)
        spool.finish(header, target)
    return target


def told(text: bytes) -> tuple[int, bytes]:
    return Method.ZSTD_PREFIX, zstd.compress(text)


def refused(update: Path, out: Path) -> Code:
    """The code of the refusal; applying must not take the memory that the update asks for."""
    out.mkdir(exist_ok=True)
    tracemalloc.start()
    try:
        with pytest.raises(Refusal) as refusal, UpdateFile.open(update) as file:
            apply(file, None, PlainSink(out))
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
    return refusal.value.code


def test_what_is_crafted_is_accepted_where_it_is_honest(tmp_path: Path) -> None:
    text = release().text()
    honest = [told(text), (Method.ZSTD, zstd.compress(bytes(SIZE)))]
    with UpdateFile.open(crafted(tmp_path / "u.hwcu", honest, text)) as file:
        out = tmp_path / "out"
        out.mkdir()
        apply(file, None, PlainSink(out))
    assert (out / "m.onnx").read_bytes() == bytes(SIZE)


@pytest.mark.parametrize("op", [Op.FRESH, Op.SKELETON], ids=["tensor", "skeleton"])
def test_a_bomb_in_a_block_is_refused(tmp_path: Path, op: Op) -> None:
    text = release().text()
    method = Method.ZSTD if op is Op.FRESH else Method.ZSTD_PREFIX
    bomb = (method, zstd.compress(bytes(100 << 20), level=3))
    update = crafted(tmp_path / "u.hwcu", [told(text), bomb], text, op=op)
    assert refused(update, tmp_path / "out") in (Code.MALFORMED, Code.LIMIT)


@pytest.mark.parametrize(
    ("axes", "code"),
    [
        pytest.param((AXES, Axes(2, SIZE // 16, 4).encode()[1]), None, id="honest"),
        pytest.param((AXES, Axes(3, 5, 4).encode()[1]), Code.MALFORMED, id="another size"),
        pytest.param((AXES, Axes(1 << 25, 1 << 25, 1).encode()[1]), Code.MALFORMED, id="huge"),
        pytest.param((AXES, Axes(0, 0, 0).encode()[1]), Code.MALFORMED, id="nothing"),
        pytest.param((AXES, b"\xff" * 9), Code.MALFORMED, id="noise"),
        pytest.param((Method.LITERAL, b"\x02\x02\x04"), Code.UNKNOWN, id="another method"),
    ],
)
def test_axes_that_lie_are_refused(
    tmp_path: Path, axes: tuple[int, bytes], code: Code | None
) -> None:
    text = release().text()
    half = SIZE // 2
    rows = [(Op.FRESH, 0, 0, 0, half), (Op.TRANSPOSED, 0, 0, 0, half)]
    payloads = [told(text), (Method.ZSTD, zstd.compress(bytes(half))), axes]
    update = crafted_of(tmp_path / "u.hwcu", payloads, text, rows)
    if code is not None:
        assert refused(update, tmp_path / "out") is code
        return
    with UpdateFile.open(update) as file:
        (tmp_path / "out").mkdir()
        apply(file, None, PlainSink(tmp_path / "out"))
    assert (tmp_path / "out/m.onnx").read_bytes() == bytes(SIZE)


def test_a_bomb_in_bundle_json_is_refused(tmp_path: Path) -> None:
    text = release().text()
    bomb = (Method.ZSTD_PREFIX, zstd.compress(bytes(100 << 20), level=3))
    update = crafted(tmp_path / "u.hwcu", [bomb, (Method.ZSTD, b"")], text)
    assert refused(update, tmp_path / "out") in (Code.MALFORMED, Code.LIMIT)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../up", "a/../../up", "a\\b", "C:x", "bundle.json", "", "a//b", "x" * 300],
    ids=lambda path: path[:12] or "empty",
)
def test_a_path_that_leaves_its_folder_is_never_opened(tmp_path: Path, path: str) -> None:
    text = release(path).text()
    update = crafted(tmp_path / "u.hwcu", [told(text), (Method.LITERAL, bytes(SIZE))], text)
    assert refused(update, tmp_path / "out") is Code.PATH
    assert list((tmp_path / "out").iterdir()) == []


def test_a_method_of_the_future_is_refused(tmp_path: Path) -> None:
    text = release().text()
    update = crafted(tmp_path / "u.hwcu", [told(text), (200, bytes(10))], text)
    assert refused(update, tmp_path / "out") is Code.UNKNOWN


def test_a_bundle_json_of_another_digest_is_refused(tmp_path: Path) -> None:
    text = release().text()
    other = replace(release(), version="2").text()
    update = crafted(tmp_path / "u.hwcu", [told(other), (Method.LITERAL, bytes(SIZE))], text)
    assert refused(update, tmp_path / "out") is Code.DIGEST
    assert list((tmp_path / "out").iterdir()) == []


def test_other_bytes_than_the_release_says_are_refused(tmp_path: Path) -> None:
    text = release().text()
    wrong = (Method.ZSTD, zstd.compress(bytes(SIZE - 1) + b"x"))
    update = crafted(tmp_path / "u.hwcu", [told(text), wrong], text)
    assert refused(update, tmp_path / "out") is Code.DIGEST


@pytest.mark.parametrize("method", [one for one in Method if one.needs_old])
def test_a_block_that_needs_old_bytes_has_some(tmp_path: Path, method: Method) -> None:
    text = release().text()
    update = crafted(tmp_path / "u.hwcu", [told(text), (method, bytes(50))], text)
    assert refused(update, tmp_path / "out") is Code.MALFORMED


@settings(max_examples=60, deadline=None)
@given(method=st.sampled_from(Method), payload=st.binary(max_size=200))
def test_noise_in_a_block_is_refused(
    tmp_path_factory: pytest.TempPathFactory, method: Method, payload: bytes
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    text = release().text()
    update = crafted(folder / "u.hwcu", [told(text), (method, payload)], text)
    with pytest.raises(Refusal), UpdateFile.open(update) as file:
        apply(file, None, PlainSink(folder))
