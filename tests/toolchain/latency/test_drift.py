"""Whether a table holds: unchanged, slower throughout, or with kernels that changed."""

import pytest
from hwc.toolchain.latency.drift import drift
from hwc.toolchain.latency.rows import BuildRow, KernelRow, MeasuredBuild
from hwc.toolchain.latency.timing import Setting, Timing, now
from hwc.toolchain.origin import Origin
from hwc.toolchain.slots import Work

SETTING = Setting("host", "onnxruntime", "1.32", 1)
THEN = {"big": 100.0, "middle": 40.0, "small": 2.0}


def row(key: str, us: float) -> KernelRow:
    """A measured kernel."""
    timing = Timing(us, us, us, 8, us, SETTING, now(), Origin.MEASURED)
    return KernelRow(key, "fp32", "conv", Work(1, 1, 1, 1), timing)


def build(times: dict[str, float]) -> MeasuredBuild:
    """A build of these kernels."""
    about = BuildRow("b", "m", "m.onnx", "{}", sum(times.values()), 8, now())
    return MeasuredBuild(about, tuple(row(key, us) for key, us in times.items()), ())


CASES = {
    "the same": (dict(THEN), 1.0, True),
    "5 % slower throughout": ({k: us * 1.05 for k, us in THEN.items()}, 1.05, True),
    "a small kernel changed": (THEN | {"small": 4.0}, 144 / 142, True),
    "20 % slower throughout": ({k: us * 1.2 for k, us in THEN.items()}, 1.2, False),
    "20 % faster throughout": ({k: us * 0.8 for k, us in THEN.items()}, 0.8, False),
    "time went from one kernel to another": (
        {"big": 60.0, "middle": 80.0, "small": 2.0},
        1.0,
        False,
    ),
}


@pytest.mark.parametrize(("now_us", "total", "holds"), CASES.values(), ids=list(CASES))
def test_drift(now_us: dict[str, float], total: float, *, holds: bool) -> None:
    rows = [row(key, us) for key, us in now_us.items()]
    found = drift([(build(THEN), sum(now_us.values()), rows)])
    assert found.total == pytest.approx(total)
    assert found.rows == 3
    assert found.holds is holds
    assert found.verdict.startswith("holds" if holds else "does not hold")


def test_what_slowed_everything_is_not_held_against_single_kernels() -> None:
    rows = [row(key, us * 1.5) for key, us in THEN.items()]
    assert drift([(build(THEN), 1.5 * 142, rows)]).off == 0.0


def test_the_worst_kernel_comes_first() -> None:
    rows = [row("big", 30.0), row("middle", 110.0), row("small", 2.0)]
    found = drift([(build(THEN), 142.0, rows)])
    assert [key for key, *_ in found.worst] == ["middle", "big"]
