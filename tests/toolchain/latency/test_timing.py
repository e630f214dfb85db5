"""A time that cannot be is refused."""

from dataclasses import replace

import numpy as np
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.latency.timing import Setting, Timing, moment, now
from hwc.toolchain.origin import Origin

SETTING = Setting("host", "onnxruntime", "1.32.0", 2)
GOOD = Timing(10.0, 9.0, 12.0, 50, 19.5, SETTING, "2026-01-31", Origin.MEASURED)


def test_measured_has_the_runs_spread() -> None:
    timing = Timing.measured(np.arange(1.0, 102.0), SETTING, cpu_us=99.0)
    assert (timing.p10_us, timing.median_us, timing.p90_us) == (11.0, 51.0, 91.0)
    assert (timing.runs, timing.cpu_us, timing.source) == (101, 99.0, Origin.MEASURED)


def test_an_estimate_counts_no_runs() -> None:
    timing = Timing.estimated(5.0, SETTING)
    assert (timing.median_us, timing.runs, timing.source) == (5.0, 0, Origin.ESTIMATED)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"median_us": -1.0, "p10_us": -1.0}, "-1.0 microseconds"),
        ({"p90_us": float("nan")}, "nan microseconds"),
        ({"p90_us": float("inf")}, "inf microseconds"),
        ({"p90_us": 2e9}, "microseconds"),
        ({"median_us": "10"}, "'10' microseconds"),
        ({"median_us": None}, "None microseconds"),
        ({"cpu_us": -3.0}, "-3.0 microseconds"),
        ({"p10_us": 11.0}, "out of order"),
        ({"p90_us": 9.5}, "out of order"),
        ({"runs": 0}, "0 runs"),
        ({"runs": -1, "source": Origin.ESTIMATED}, "-1 runs"),
        ({"runs": 2.5}, "2.5 runs"),
        ({"date": "yesterday"}, "dated 'yesterday'"),
        ({"date": None}, "dated None"),
        ({"date": 20260131}, "dated 20260131"),
    ],
    ids=lambda value: ",".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_impossible_times_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(GOOD, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"device": None},
        {"runtime": "x" * 1000},
        {"threads": -1},
        {"threads": "two"},
        {"threads": 1 << 63},
    ],
    ids=["no device", "long runtime", "negative threads", "text threads", "absurd threads"],
)
def test_impossible_settings_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        replace(SETTING, **change)


def test_a_setting_reads_as_one_line() -> None:
    assert str(SETTING) == "host, onnxruntime 1.32.0, 2 threads"
    mode = replace(SETTING, device="orin", power_mode="15W", threads=1)
    assert str(mode) == "orin, 15W, onnxruntime 1.32.0, 1 thread"


def test_dates_are_moments_in_time() -> None:
    assert moment("2026-03-01T10:00:00+02:00") < moment("2026-03-01T09:00:00+00:00")
    assert moment("2026-03-01") == moment("2026-03-01T00:00:00+00:00")
    assert moment(now()) > moment("2026-01-01")
