"""Releases come out of updates as they went in, and whatever was touched is refused."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hwc.toolchain.update.delta.apply import apply
from hwc.toolchain.update.delta.file import UpdateFile
from hwc.toolchain.update.delta.files import Folder, Reader
from hwc.toolchain.update.delta.header import Op, Strategy
from hwc.toolchain.update.delta.make import Options
from hwc.toolchain.update.refusal import Code, Refusal
from hwc.toolchain.update.release import Dtype
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwc.tests.toolchain.update.delta.conftest import Bench, Part, Parts

FLOATS = st.sampled_from((0.0, -0.0, 1.0, -1.0, 1e-40, -1e-42, float("nan"), float("inf"), 3.5))
NAMES = st.sampled_from(("conv.weight", "conv.bias", "head", "", "encoder/0", "größe"))
NUMPY = {Dtype.F64: "<f8", Dtype.F32: "<f4", Dtype.F16: "<f2"}


def weights(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).normal(size=count).astype("<f4").tobytes()


def moved(data: bytes, by: float = 1e-5, seed: int = 1) -> bytes:
    values = np.frombuffer(data, "<f4")
    change = np.random.default_rng(seed).normal(size=len(values)) * by
    return (values + change).astype("<f4").tobytes()


@st.composite
def tensors(draw: st.DrawFn) -> "Part":
    """One tensor: of nothing, of the awkward numbers, or of any bytes."""
    dtype = draw(st.sampled_from(Dtype))
    count = draw(st.sampled_from((0, 1, 3, 16, 17, 300, 4096)))
    if dtype in NUMPY:
        some = draw(st.lists(FLOATS, min_size=1, max_size=8))
        data = np.resize(np.array(some), count).astype(NUMPY[dtype]).tobytes()
    else:
        seed = draw(st.integers(0, 5))
        data = np.random.default_rng(seed).bytes(count * dtype.size)
    return draw(NAMES), dtype, data


PARTS = st.lists(st.one_of(st.binary(max_size=40), tensors()), max_size=8)
RELEASES = st.dictionaries(st.sampled_from(("a.onnx", "b/c.bin", "d", "e.plan")), PARTS, max_size=3)


@st.composite
def pairs(draw: st.DrawFn) -> "tuple[Parts, Parts]":
    """Two releases: unrelated ones, or one that came out of the other by what people do."""
    old = draw(RELEASES)
    new = draw(RELEASES)
    for path, parts in old.items():
        keep = draw(st.permutations(parts)) if draw(st.booleans()) else list(parts)
        some = [draw(st.sampled_from((part, _renamed(part), _nudged(part)))) for part in keep]
        new[draw(st.sampled_from((path, "moved.onnx")))] = some + new.get(path, [])
    return old, new


def _renamed(part: "Part") -> "Part":
    return part if isinstance(part, bytes) else ("renamed", part[1], part[2])


def _nudged(part: "Part") -> "Part":
    if isinstance(part, bytes):
        return part + b"!"
    changed = bytearray(part[2])
    changed[: len(changed) // 2 : 7] = bytes(len(changed[: len(changed) // 2 : 7]))
    return part[0], part[1], bytes(changed)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pair=pairs(), strategy=st.sampled_from((Strategy.FULL, Strategy.HASH, Strategy.AUTO)))
def test_any_release_comes_out_as_it_was(
    pair: "tuple[Parts, Parts]", strategy: Strategy, benches: "Callable[[], Bench]"
) -> None:
    bench = benches()
    old, new = bench.release("old", pair[0], 1), bench.release("new", pair[1], 2)
    bench.round_trip(old, new, strategy)


def test_a_renamed_and_reordered_release_costs_next_to_nothing(bench: "Bench") -> None:
    blocks = [weights(5000, seed) for seed in range(8)]
    old = [part for k, data in enumerate(blocks) for part in (b"head", (f"w{k}", Dtype.F32, data))]
    new = [
        part
        for k, data in enumerate(reversed(blocks))
        for part in (b"head of another size", (f"layer{k}", Dtype.F32, data))
    ]
    made = bench.round_trip(
        bench.release("old", {"m.onnx": old}), bench.release("new", {"m.onnx": new}, 2)
    )
    assert made.size < 1500


def test_a_tensor_that_is_there_twice_is_sent_once(bench: "Bench") -> None:
    data = weights(50_000)
    parts: list[Part] = [("a", Dtype.F32, data), b"between", ("b", Dtype.F32, data)]
    new = bench.release("new", {"m.onnx": parts, "copy.bin": [data], "same.onnx": parts})
    once = bench.update(None, bench.release("one", {"m.onnx": parts[:1]}))
    twice = bench.update(None, new)
    assert twice.size < once.size + 600
    with UpdateFile.open(twice.path) as update:
        assert Op.REFERENCE in update.header.segments["op"]
    assert bench.contents(bench.applied(twice.path, None)) == bench.contents(new)


def test_added_rows_are_all_that_a_larger_tensor_costs(bench: "Bench") -> None:
    data, more = weights(40_000), weights(100, seed=3)
    grown = data[: 4 * 20_000] + more + data[4 * 20_000 :]
    old = bench.release("old", {"m.onnx": [("table", Dtype.F32, data)]})
    new = bench.release("new", {"m.onnx": [("table", Dtype.F32, grown)]}, 2)
    assert bench.round_trip(old, new).size < 400 + 900


def test_an_engine_is_told_from_the_weights_beside_it(bench: "Bench") -> None:
    rng = np.random.default_rng(5)
    first, second = weights(30_000), weights(2_000, 1)

    def release(name: str, first: bytes, second: bytes, seq: int) -> Path:
        model: list[Part] = [b"abc", ("one", Dtype.F32, first), b"name", ("two", Dtype.F32, second)]
        engine = [b"plan" * 10, second, bytes(200), first, b"end."]
        return bench.release(name, {"model.onnx": model, "a.plan": engine}, seq)

    old = release("old", first, second, 1)
    new = release("new", moved(first), rng.bytes(len(second)), 2)
    bench.round_trip(old, new)
    with UpdateFile.open(bench.root / "update.hwcu") as update:
        segments = update.header.segments
    referred = segments["size"][segments["op"] == Op.REFERENCE].sum()
    assert referred == len(first) + len(second)


@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
@pytest.mark.parametrize("order", [(0, 2, 3, 1), (1, 2, 3, 0), (1, 0, 2, 3)], ids=str)
def test_an_engine_is_told_from_weights_in_another_layout(
    bench: "Bench", order: tuple[int, ...], dtype: str
) -> None:
    rng = np.random.default_rng(5)
    kind = {"<f4": Dtype.F32, "<f2": Dtype.F16}[dtype]

    def release(name: str, seq: int) -> Path:
        one, two = (rng.normal(size=(32, 16, 3, 3)).astype(dtype) for _ in range(2))
        model: list[Part] = [
            b"abc",
            ("one", kind, one.tobytes(), one.shape),
            ("two", kind, two.tobytes(), two.shape),
        ]
        turned = [array.transpose(order).tobytes() for array in (two, one, two)]
        engine = [b"plan" * 10, turned[0], bytes(200), turned[1], turned[2], b"end."]
        return bench.release(name, {"model.onnx": model, "a.plan": engine}, seq)

    made = bench.round_trip(release("old", 1), release("new", 2))
    with UpdateFile.open(made.path) as update:
        segments = update.header.segments
    turned = segments["size"][segments["op"] == Op.TRANSPOSED]
    assert turned.tolist() == [32 * 16 * 9 * np.dtype(dtype).itemsize] * 3


def test_blocks_of_small_and_of_large_tensors_come_back(bench: "Bench") -> None:
    large, small = weights(200_000), weights(40)
    old: Parts = {"m.onnx": [b"x", ("large", Dtype.F32, large), b"y", ("small", Dtype.F32, small)]}
    new: Parts = {
        "m.onnx": [
            b"x",
            ("large", Dtype.F32, moved(large)),
            b"z",
            ("small", Dtype.F32, moved(small)),
        ]
    }
    made = bench.round_trip(bench.release("old", old), bench.release("new", new, 2))
    assert made.size < 0.8 * len(large)


def test_a_skeleton_of_many_blocks_comes_back(bench: "Bench") -> None:
    rng = np.random.default_rng(0)
    graph = rng.bytes(2_500_000)
    changed = bytearray(graph)
    changed[1_000_000:1_000_010] = b"0123456789"
    old = bench.release("old", {"m.onnx": [graph, ("w", Dtype.F32, weights(100))]})
    new = bench.release("new", {"m.onnx": [bytes(changed), ("w", Dtype.F32, weights(100))]}, 2)
    assert bench.round_trip(old, new).size < 20_000


@pytest.fixture
def delta(bench: "Bench") -> tuple[Path, Path, Path]:
    """The base, the new release, and the update between them."""
    parts: list[Part] = [b"graph", ("w", Dtype.F32, weights(3000)), b"end"]
    old = bench.release("old", {"m.onnx": parts, "notes": [b"one"]})
    changed: list[Part] = [b"Graph", ("w", Dtype.F32, moved(weights(3000))), b"end"]
    new = bench.release("new", {"m.onnx": changed, "notes": [b"two"]}, 2)
    return old, new, bench.update(old, new, Options(Strategy.HASH)).path


def test_another_base_is_refused(delta: tuple[Path, Path, Path], bench: "Bench") -> None:
    _, new, update = delta
    with pytest.raises(Refusal, match="starts from") as refusal:
        bench.applied(update, new)
    assert refusal.value.code is Code.BASE


def test_a_missing_base_is_refused(delta: tuple[Path, Path, Path], bench: "Bench") -> None:
    with pytest.raises(Refusal, match="nothing is installed") as refusal:
        bench.applied(delta[2], None)
    assert refusal.value.code is Code.BASE


@pytest.mark.parametrize("cut", [0, 100, 12_000], ids=["all", "most", "the end"])
def test_a_base_that_is_cut_is_refused(
    delta: tuple[Path, Path, Path], bench: "Bench", cut: int
) -> None:
    old, _, update = delta
    model = old / "m.onnx"
    model.write_bytes(model.read_bytes()[:cut])
    with pytest.raises(Refusal) as refusal:
        bench.applied(update, old)
    assert refusal.value.code is Code.BASE


def test_a_base_with_one_other_bit_is_refused(
    delta: tuple[Path, Path, Path], bench: "Bench"
) -> None:
    old, _, update = delta
    model = old / "m.onnx"
    data = bytearray(model.read_bytes())
    data[5000] ^= 1
    model.write_bytes(data)
    with pytest.raises(Refusal, match="installed release is damaged") as refusal:
        bench.applied(update, old)
    assert refusal.value.code in (Code.DIGEST, Code.MALFORMED)


def test_every_flipped_bit_of_an_update_is_refused(
    delta: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    old, _, update = delta
    data = update.read_bytes()
    base, damaged = Folder(old), tmp_path / "damaged.hwcu"
    with UpdateFile.open(update) as whole:
        header = whole.header_size
    codes = set()
    for at in [*range(header), *range(header, len(data), 97)]:
        damaged.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        with pytest.raises(Refusal) as refusal, UpdateFile.open(damaged) as file:
            apply(file, base, _Nowhere())
        codes.add(refusal.value.code)
    assert codes <= {Code.DIGEST, Code.MALFORMED, Code.LIMIT, Code.UNKNOWN}


def test_every_truncation_of_an_update_is_refused(
    delta: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    data = delta[2].read_bytes()
    cut = tmp_path / "cut.hwcu"
    for size in {*range(300), *range(300, len(data), 61), len(data) - 1}:
        cut.write_bytes(data[:size])
        with pytest.raises(Refusal) as refusal:
            UpdateFile.open(cut)
        assert refusal.value.code is Code.MALFORMED
    cut.write_bytes(data + b"\0")
    with pytest.raises(Refusal, match="its header says"):
        UpdateFile.open(cut)


def test_bundle_json_is_written_last(delta: tuple[Path, Path, Path]) -> None:
    sink = _Nowhere()
    with UpdateFile.open(delta[2]) as update:
        apply(update, Folder(delta[0]), sink)
    assert sink.created[-1] == "bundle.json"
    assert sorted(sink.created) == ["bundle.json", "m.onnx", "notes"]


def test_files_are_closed_when_an_update_is_refused(
    delta: tuple[Path, Path, Path], bench: "Bench"
) -> None:
    # pytest turns the ResourceWarning of a file that was left open into an error.
    old, _, update = delta
    (old / "m.onnx").write_bytes(b"")
    with pytest.raises(Refusal):
        bench.applied(update, old)


class _Nowhere:
    """A Sink that keeps the names of files alone."""

    def __init__(self) -> None:
        self.created: list[str] = []

    def create(self, path: str) -> "_Nowhere":
        self.created.append(path)
        return self

    def open(self, path: str) -> Reader:
        raise AssertionError(path)

    def write(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass
