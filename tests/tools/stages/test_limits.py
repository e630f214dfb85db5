"""A delivery beyond the user's limits is refused, with what was nearest."""

from dataclasses import replace

import pytest
from hwc.toolchain.errors import ConstraintError
from hwc.toolchain.origin import Origin
from hwc.toolchain.report import Attempt, Latency, Measured, Report
from hwc.toolchain.verify import GateDecision
from hwc.tools.request import Request
from hwc.tools.stages.limits import check_limits

REPORT = Report(
    "m.onnx",
    "host",
    "ort 1",
    Measured(4_000_000),
    Measured(3_000_000, Latency(2_500.0, Origin.MEASURED, "here")),
    attempts=(Attempt("the original", GateDecision.identity()),),
)


@pytest.mark.parametrize(
    ("latency", "size"),
    [(None, None), (2.5, None), (None, 3_000_000), (3.0, 4_000_000)],
)
def test_within(latency: float | None, size: int | None) -> None:
    assert not check_limits(Request("m.onnx", max_latency_ms=latency, max_size=size), REPORT)


def test_a_measurement_may_be_a_little_over() -> None:
    request = Request("m.onnx", max_latency_ms=2.4)
    assert "measured 4.2% over --max-latency" in check_limits(request, REPORT)
    estimated = replace(REPORT, compiled=Measured(3, Latency(2_500.0, Origin.ESTIMATED, "here")))
    with pytest.raises(ConstraintError, match=r"--max-latency 2\.4"):
        check_limits(request, estimated)


@pytest.mark.parametrize(
    ("latency", "size", "broken"),
    [
        (2.37, None, "--max-latency 2.37"),
        (None, 2_999_999, "--max-size 3"),
        (2.37, 1_000_000, "--max-size 1 and --max-latency 2.37"),
        (2.37, 9_000_000, "--max-latency 2.37"),
    ],
)
def test_beyond(latency: float | None, size: int | None, broken: str) -> None:
    with pytest.raises(ConstraintError) as refusal:
        check_limits(Request("m.onnx", max_latency_ms=latency, max_size=size), REPORT)
    assert refusal.value.message == (
        f"nothing within {broken} passed the gate: the nearest, the original, "
        "takes 2.5 ms (measured) and 3 MB"
    )


def test_an_unknown_latency_breaks_no_limit() -> None:
    report = Report("m", "d", "b", Measured(1), Measured(1))
    check_limits(Request("m.onnx", max_latency_ms=1.0), report)
