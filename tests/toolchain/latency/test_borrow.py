"""Times are borrowed from what is alike, with a range that holds."""

import numpy as np
import pytest
from hwc.toolchain.latency.borrow import Borrowed, Borrower, Known
from hwc.toolchain.latency.borrow_group import Kernel
from hwc.toolchain.latency.borrow_trend import BLIND, COVERAGE
from hwc.toolchain.latency.observed import ALONE
from hwc.toolchain.slots import Work
from hypothesis import given, settings
from hypothesis import strategies as st

LAUNCH, MACS, WEIGHTS, ELEMENTS = 2.0, 1e-5, 1e-4, 5e-5
RATE = {"fp32": 1.0, "int8": 0.3}


def cost(work: Work, choice: str = "fp32") -> float:
    moved = ELEMENTS * (work.reads + work.writes)
    return LAUNCH + RATE[choice] * (MACS * work.macs + WEIGHTS * work.weights + moved)


def gemm(rows: int, depth: int, columns: int, times: int = 1) -> Work:
    return Work(
        macs=rows * depth * columns * times,
        weights=depth * columns * times,
        reads=rows * depth * times,
        writes=rows * columns * times,
    )


def matmuls(seed: int = 0, count: int = 60, noise: float = 0.0) -> list[Known]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        sizes = [int(size) for size in 2 ** rng.uniform(3, 9, 3)]
        key = f"MatMul||{sizes[0]}x{sizes[1]},w{sizes[1]}x{sizes[2]}"
        for choice in RATE:
            us = cost(gemm(*sizes), choice) * float(np.exp(noise * rng.standard_normal()))
            rows.append(Known(key, "gemm", gemm(*sizes), choice, us))
    return rows


def borrowed(found: Borrowed | None) -> Borrowed:
    assert found is not None
    return found


def test_a_measured_kernel_keeps_its_time() -> None:
    rows = matmuls(noise=0.3)
    borrower = Borrower.fit(rows)
    for row in rows:
        found = borrower.time(row.key, row.kind, row.work, row.choice)
        assert found == Borrowed(row.us, row.us, row.us, row.key)


@pytest.mark.parametrize("choice", RATE)
@pytest.mark.parametrize("sizes", [(100, 100, 100), (12, 300, 77), (200, 20, 350)], ids=str)
def test_a_kernel_takes_what_its_work_costs(choice: str, sizes: tuple[int, int, int]) -> None:
    found = borrowed(Borrower.fit(matmuls()).time("MatMul||new", "gemm", gemm(*sizes), choice))
    assert found.us == pytest.approx(cost(gemm(*sizes), choice), rel=0.02)


def test_twice_the_work_takes_twice_the_time() -> None:
    borrower = Borrower.fit(matmuls(noise=0.1))
    once = borrowed(borrower.time("MatMul||a", "gemm", gemm(128, 256, 256), "fp32")).us
    twice = borrowed(borrower.time("MatMul||b", "gemm", gemm(128, 256, 256, times=2), "fp32")).us
    assert twice - LAUNCH == pytest.approx(2 * (once - LAUNCH), rel=0.15)


def test_one_kernel_that_the_runtime_handles_badly_does_not_bend_the_others() -> None:
    rows = matmuls(count=20)
    work = gemm(64, 64, 64)
    bad = Known("MatMul||64x64,w64x64", "gemm", work, "fp32", 40 * cost(work))
    far = gemm(500, 500, 500)
    found = borrowed(Borrower.fit([*rows, bad]).time("MatMul||far", "gemm", far, "fp32"))
    assert found.us == pytest.approx(cost(far), rel=0.1)


def test_the_nearest_kernels_correct_the_trend() -> None:
    slow = [
        Known(f"Gelu||{n}", "elementwise", Work(0, 0, n, n), "fp32", 5 * cost(Work(0, 0, n, n)))
        for n in range(10_000, 90_000, 10_000)
    ]
    quick = [
        Known(f"Add||{n}", "elementwise", Work(0, 0, n, n), "fp32", cost(Work(0, 0, n, n)))
        for n in range(8_000, 98_000, 6_000)
    ]
    borrower = Borrower.fit(slow + quick)
    work = Work(0, 0, 35_000, 35_000)
    gelu = borrowed(borrower.time("Gelu||35000", "elementwise", work, "fp32"))
    add = borrowed(borrower.time("Add||35000", "elementwise", work, "fp32"))
    assert gelu.from_key.startswith("Gelu")
    assert add.from_key.startswith("Add")
    assert gelu.us > 2 * add.us
    assert gelu.low <= 5 * cost(work) <= gelu.high


def test_the_range_widens_with_the_distance() -> None:
    waves = [
        Known(row.key, row.kind, row.work, row.choice, row.us * (1 + 0.5 * np.sin(step)))
        for row in matmuls(count=300)
        for step in [np.log(row.work.macs)]
    ]
    borrower = Borrower.fit(waves)
    far = [100, 1_000, 4_000, 40_000]
    asked = [("MatMul||x", "gemm", gemm(size, size, size)) for size in far]
    found = [borrowed(borrower.time(*kernel, "fp32")) for kernel in asked]
    factors = [(time.high + 1) / (time.us + 1) for time in found]
    assert factors == sorted(set(factors))
    other = borrowed(borrower.time("Conv||x", "conv", gemm(100, 100, 100), "fp32"))
    assert (other.high + 1) / (other.us + 1) > 1.1 * factors[0]


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.5])
def test_ranges_hold_as_many_new_kernels_as_they_say(noise: float) -> None:
    held = []
    for seed in range(3):
        borrower = Borrower.fit(matmuls(seed, noise=noise))
        for row in matmuls(seed + 100, noise=noise):
            found = borrowed(borrower.time(row.key + "?", row.kind, row.work, row.choice))
            held.append(found.low <= row.us <= found.high)
    assert COVERAGE - 0.08 < np.mean(held) < 0.99


def test_what_takes_nothing_stays_at_nothing() -> None:
    views = [
        Known(f"Reshape||{n}", "move", Work(0, 2, n, n), "fp32", 0.0)
        for n in range(1_000, 99_000, 7_000)
    ]
    work = Work(0, 2, 50_000, 50_000)
    found = borrowed(Borrower.fit(views).time("Reshape||50000", "move", work, "fp32"))
    assert (found.us, found.low, found.high) == (0.0, 0.0, 0.0)
    adds = [
        Known(f"Add||{n}", "elementwise", Work(0, 0, n, n), "fp32", cost(Work(0, 0, n, n)))
        for n in range(1_000, 99_000, 7_000)
    ]
    mixed = Borrower.fit(views + adds)
    view = borrowed(mixed.time("Reshape||50000", "move", work, "fp32"))
    add = borrowed(mixed.time("Add||50000", "elementwise", Work(0, 0, 50_000, 50_000), "fp32"))
    assert view.us < 0.5 * add.us
    assert view.low == 0.0


def test_a_large_table_counts_as_what_is_read_of_it() -> None:
    borrower = Borrower.fit(
        Known(f"Add||w{n}", "elementwise", Work(0, n, n, n), "fp32", cost(Work(0, n, n, n)))
        for n in range(1_000, 99_000, 7_000)
    )
    few, many = (
        borrowed(borrower.time("Gather||x", "move", Work(0, table, 0, 4_000), "fp32")).us
        for table in (10_000, 10_000_000)
    )
    assert many == pytest.approx(few, rel=0.05)


def test_what_rides_says_nothing_of_its_work() -> None:
    sizes = range(1_000, 99_000, 7_000)
    rows = [
        Known(f"Mul||{n}", "elementwise", Work(0, 0, n, n), "fp32", cost(Work(0, 0, n, n)))
        for n in sizes
    ]
    riding = [
        Known(f"Mul||{n},{n}", "elementwise", Work(0, 0, n, n), choice, us)
        for n in sizes
        for choice, us in (("fp32", 0.0), (ALONE, 7.0))
    ]
    work = Work(0, 0, 50_500, 50_500)
    alone = Borrower.fit(rows).time("Mul||50500", "elementwise", work, "fp32")
    both = Borrower.fit(rows + riding)
    assert both.time("Mul||50500", "elementwise", work, "fp32") == alone
    assert borrowed(both.time("Mul||1000,1000", "elementwise", Work(0, 0, 1, 1), "fp32")).us == 0.0
    assert borrowed(both.time("Mul||9,9", "elementwise", work, ALONE)).us == pytest.approx(7.0)


def depthwise(size: int) -> tuple[str, str, Work]:
    return (
        f"Conv|group={size}|{size}",
        "depthwise",
        Work(900 * size, 9 * size, 90 * size, 90 * size),
    )


def test_a_class_that_was_not_seen_in_a_choice_is_scaled_as_others_are() -> None:
    seen = [
        Known(*depthwise(size), "fp32", 20 + 3 * cost(depthwise(size)[2]))
        for size in range(10, 400, 20)
    ]
    halved = [
        Known(row.key, row.kind, row.work, choice, row.us * (0.5 if choice == "int8" else 1.0))
        for row in matmuls(count=20)
        if row.choice == "fp32"
        for choice in RATE
    ]
    borrower = Borrower.fit(seen + halved)
    fp32 = borrowed(borrower.time(*depthwise(55), "fp32"))
    int8 = borrowed(borrower.time(*depthwise(55), "int8"))
    assert int8.us == pytest.approx(fp32.us / 2, rel=0.1)
    known = borrowed(borrower.time(*depthwise(50), "int8"))
    assert known.us == pytest.approx(seen[2].us / 2, rel=0.1)
    assert known.low <= known.us <= known.high


@pytest.mark.parametrize(
    ("rows", "asked"),
    [
        ([], ("gemm", gemm(4, 4, 4), "fp32")),
        (matmuls(count=5), ("gemm", gemm(4, 4, 4), "fp16")),
        (matmuls(count=5), ("elementwise", Work(0, 0, 9, 9), "fp32")),
    ],
    ids=["empty", "choice", "nothing-alike"],
)
def test_nothing_is_borrowed_from_nothing(rows: list[Known], asked: tuple[str, Work, str]) -> None:
    assert Borrower.fit(rows).time("x", *asked) is None


def test_one_kernel_has_no_say_over_its_error() -> None:
    row = Known("MatMul||a", "gemm", gemm(64, 64, 64), "fp32", 50.0)
    found = borrowed(Borrower.fit([row]).time("MatMul||b", "gemm", gemm(64, 64, 65), "fp32"))
    assert found.us == pytest.approx(50.0, rel=0.1)
    assert (found.high + 1) / (found.us + 1) == pytest.approx(BLIND)


def test_the_ops_of_a_key() -> None:
    key = "Add||1x8,1x8&Conv+Clip|group=1,pads=(0, 0)|1x8x4x4,w8x8x1x1,w8"
    assert Kernel(key, "conv", Work(1, 1, 1, 1)).ops == {"Add", "Conv", "Clip"}


counts = st.integers(0, 1 << 40)
works = st.builds(Work, counts, counts, counts, counts)
kinds = st.sampled_from(["conv", "depthwise", "gemm", "elementwise", "move", "other"])
choices = st.sampled_from(["fp32", "int8", ALONE])
known_rows = st.builds(
    Known,
    st.sampled_from(["Conv|a|1", "Conv+Relu|a|1", "Add||1&Mul||1", "If|", "", "MatMul||2"]),
    kinds,
    works,
    choices,
    st.floats(0, 1e9),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(known_rows, max_size=12), kinds, works, choices)
def test_times_are_finite_and_in_their_range(
    rows: list[Known], kind: str, work: Work, choice: str
) -> None:
    found = Borrower.fit(rows).time("Conv|b|7", kind, work, choice)
    if found is not None:
        assert 0.0 <= found.low <= found.us <= found.high
        assert np.isfinite(found.high)
        assert found.from_key in {row.key for row in rows}
