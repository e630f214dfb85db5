"""What inspecting says of an update is what was put into it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hwc.toolchain.update.delta.change import changes
from hwc.toolchain.update.delta.file import UpdateFile
from hwc.toolchain.update.delta.files import Folder
from hwc.toolchain.update.delta.header import Strategy
from hwc.toolchain.update.delta.inspect import contents, inspect
from hwc.toolchain.update.delta.make import Options
from hwc.toolchain.update.release import Dtype

if TYPE_CHECKING:
    from hwc.tests.toolchain.update.delta.conftest import Bench, Part


def floats(seed: int, count: int = 2000) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count).astype("<f4")


def pair(bench: "Bench") -> tuple[Path, Path]:
    """One tensor stays, one is renamed, one moves by three steps in every second number."""
    one, two, three = floats(1), floats(2), floats(3)
    moved = three.copy()
    moved.view("<i4")[::2] += 3
    new_parts: list[Part] = [
        ("one", Dtype.F32, one.tobytes()),
        ("zwei", Dtype.F32, two.tobytes()),
        b"between",
        ("three", Dtype.F32, moved.tobytes()),
        ("four", Dtype.I8, bytes(300)),
    ]
    old_parts = [
        ("one", Dtype.F32, one.tobytes()),
        ("two", Dtype.F32, two.tobytes()),
        ("three", Dtype.F32, three.tobytes()),
    ]
    return bench.release("old", {"m.onnx": old_parts}), bench.release(
        "new", {"m.onnx": new_parts}, 2
    )


def test_changes_are_told_by_tensor(bench: "Bench") -> None:
    old, new = pair(bench)
    with Folder(old) as older, Folder(new) as newer:
        found = {change.name: change for change in changes(newer, older)}
    assert set(found) == {"zwei", "three", "four"}
    assert (found["zwei"].was, found["zwei"].changed) == ("two", 0.0)
    three = found["three"]
    assert (three.changed, three.largest, three.mean) == (0.5, 3.0, 3.0)
    assert three.relative is not None
    assert 0 < three.relative < 1e-6
    assert (found["four"].was, found["four"].changed, found["four"].largest) == ("", 1.0, None)


@pytest.mark.parametrize(
    ("dtype", "kind", "new", "expected"),
    [
        pytest.param(Dtype.F32, "<f4", [0.0, 1.0], (0.0, 0.0), id="zeros of both signs"),
        pytest.param(Dtype.F16, "<f2", [-0.0, 2.0], (1024.0, 1.0), id="fp16"),
        pytest.param(Dtype.F64, "<f8", [0.0, 1.5], (2.0**51, 0.5), id="fp64"),
        pytest.param(Dtype.I8, "<i1", [0, -3], (4.0, 4.0), id="int8"),
        pytest.param(Dtype.U8, "<u1", [0, 200], (199.0, 199.0), id="uint8"),
        pytest.param(Dtype.I64, "<i8", [0, 4], (3.0, 3.0), id="int64"),
    ],
)
def test_distances_are_of_the_type(
    bench: "Bench", dtype: Dtype, kind: str, new: list[float], expected: tuple[float, float]
) -> None:
    before = np.resize(np.array([-0.0, 1.0]).astype(kind), 64).tobytes()
    after = np.resize(np.array(new).astype(kind), 64).tobytes()
    older = bench.release("old", {"m": [("w", dtype, before)]})
    newer = bench.release("new", {"m": [("w", dtype, after)]}, 2)
    with Folder(older) as first, Folder(newer) as second:
        (change,) = changes(second, first)
    assert (change.largest, change.relative) == pytest.approx(expected)


def test_bfloat16_and_8_bit_floats_are_counted_in_steps(bench: "Bench") -> None:
    before = np.arange(1, 101, dtype="<u2").tobytes()
    after = np.arange(3, 103, dtype="<u2").tobytes()
    for dtype in (Dtype.BF16, Dtype.F8E4M3, Dtype.PACKED):
        older = bench.release("old", {"m": [("w", dtype, before)]})
        newer = bench.release("new", {"m": [("w", dtype, after)]}, 2)
        with Folder(older) as first, Folder(newer) as second:
            (change,) = changes(second, first)
        assert change.largest == {Dtype.PACKED: None}.get(dtype, 2.0)


def test_numbers_that_are_not_finite_do_not_spoil_the_rest(bench: "Bench") -> None:
    before, after = floats(1, 64), floats(1, 64)
    before[:3] = after[:3] = [np.nan, np.inf, -np.inf]
    after[5], after[6] = np.nan, before[6] * 2
    older = bench.release("old", {"m": [("w", Dtype.F32, before.tobytes())]})
    newer = bench.release("new", {"m": [("w", Dtype.F32, after.tobytes())]}, 2)
    with Folder(older) as first, Folder(newer) as second:
        (change,) = changes(second, first)
    assert change.changed == 2 / 64
    assert change.relative is not None
    assert 0 < change.relative < 1


def test_an_update_is_taken_apart(bench: "Bench") -> None:
    old, new = pair(bench)
    made = bench.update(old, new, Options(Strategy.HASH))
    with UpdateFile.open(made.path) as update, Folder(old) as base:
        found = inspect(update, base)
        alone = contents(update)
    assert found.contents == alone
    assert alone.size == made.size
    assert alone.size == alone.header + sum(alone.methods.values())
    assert alone.written == sum(alone.steps.values()) == found.release.size
    (cost,) = found.costs
    assert cost.tensors["three"] > 0
    assert cost.tensors["one"] == cost.tensors["zwei"] == 0
    assert {change.name for change in found.changes} == {"zwei", "three", "four"}


def test_a_full_update_is_taken_apart_without_a_base(bench: "Bench") -> None:
    _, new = pair(bench)
    made = bench.update(None, new)
    with UpdateFile.open(made.path) as update:
        found = inspect(update, None)
    assert found.contents.base == ""
    assert found.changes == ()
    assert all(found.costs[0].tensors[name] > 0 for name in ("one", "three"))
