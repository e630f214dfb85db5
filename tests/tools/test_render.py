"""The table says where every figure comes from; progress suits who watches."""

import json
from pathlib import Path

import pytest
from hwc.toolchain.engine import Check, Status
from hwc.toolchain.origin import Origin
from hwc.toolchain.report import Attempt, Latency, Measured, Quality, Report
from hwc.toolchain.timing import Clock, Interval, Spread
from hwc.toolchain.verify import GateDecision, Numbers
from hwc.tools.render import (
    counts_text,
    interval_text,
    latency_text,
    print_report,
    progress,
    size_text,
    time_text,
)

HOST = Report(
    model="effnet.onnx",
    device="host",
    backend="ort 1.32",
    original=Measured(
        18_000_000,
        Latency.measured(Spread(9000, 8900, 9300), 120, Clock.CPU, "host, ort 1.32, 1 thread"),
        Quality("top1", Interval(0.745, 0.71, 0.78), 500, "report"),
        {"fp32": 60},
    ),
    compiled=Measured(
        4_900_000,
        Latency.measured(Spread(4400, 4300, 4600), 120, Clock.CPU, "host, ort 1.32, 1 thread"),
        Quality("top1", Interval(0.741, 0.70, 0.77), 500, "report"),
        {"fp32": 6, "int8": 54},
    ),
    predicted=Latency(4500, Origin.ESTIMATED, "latency table", residual=0.02),
    speedup=Interval(2.05, 2.02, 2.08),
    drop=Interval(0.004, -0.001, 0.009),
    golden=Numbers(sqnr_db=27.1),
    kernels={"int8 asked": 49, "int8 fused": 43},
    boundaries=7,
    attempts=(
        Attempt("plan 1", GateDecision(accepted=False, reasons=("drop 1.20%, allowed 1.00%",))),
        Attempt("plan 2", GateDecision(accepted=True, reasons=("2.050x the speed",))),
    ),
    notes=("a remark [with brackets]",),
)


def shown(report: Report, capsys: pytest.CaptureFixture[str]) -> str:
    """The text that a user sees."""
    print_report(report, Path("out/effnet.hwc"))
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        "9.000 ms (8.900 ms to 9.300 ms) measured, 120 runs",
        "4.400 ms (4.300 ms to 4.600 ms) measured, 120 runs",
        "4.500 ms (+2.0% off)",
        "2.050x (2.020x to 2.080x)",
        "4.90 MB (3.67x smaller)",
        "top1 (n = 500, report)",
        "74.10% (70.00% to 77.00%)",
        "0.40% (-0.10% to 0.90%)",
        "int8 54, fp32 6",
        "int8 asked 49, int8 fused 43",
        "plan 1: refused: drop 1.20%, allowed 1.00%",
        "plan 2: accepted: 2.050x the speed",
        "measured: host, ort 1.32, 1 thread (process CPU time)",
        "estimated: latency table",
        "a remark [with brackets]",
    ],
)
def test_the_table_has(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert text in shown(HOST, capsys)


def test_the_path_is_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(HOST, capsys).splitlines()[-1] == "out/effnet.hwc"


def test_a_buildable_bundle_shows_estimates_and_what_is_owed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    estimate = Latency(900, Origin.ESTIMATED, "roofline", residual=0.4)
    checks = (
        Check("latency", Status.OWED, "needs Orin"),
        Check("operators", Status.PASSED, "41 of 41"),
    )
    report = Report(
        "m", "orin", "trt", Measured(10, estimate), Measured(5, estimate), checks=checks
    )
    text = shown(report, capsys)
    assert "900.0 µs ±40% estimated" in text
    assert "measured" not in text
    assert text.index("operators: passed (41 of 41)") < text.index("latency: not checked here")


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(HOST, Path("x"), as_json=True)
    text = capsys.readouterr().out
    assert Report.from_json(text) == HOST
    assert json.loads(text)["boundaries"] == 7


@pytest.mark.parametrize(
    ("got", "wanted"),
    [
        (time_text(12.34), "12.3 µs"),
        (time_text(1234.5), "1.234 ms"),
        (size_text(2_500_000_000), "2500.00 MB"),
        (size_text(512), "0.51 kB"),
        (counts_text({}), "-"),
        (counts_text({"a": 1, "b": 2}), "b 2, a 1"),
        (latency_text(None), "not known"),
        (interval_text(Interval(1, 0.5, 2), "{:.1f}"), "1.0 (0.5 to 2.0)"),
    ],
    ids=lambda value: value,
)
def test_texts(got: str, wanted: str) -> None:
    assert got == wanted


@pytest.mark.parametrize(
    ("quiet", "verbose", "expected"),
    [(False, False, ["stage"]), (False, True, ["note", "stage"]), (True, True, [])],
    ids=["plain", "verbose", "quiet"],
)
def test_progress_in_a_log(
    capsys: pytest.CaptureFixture[str], expected: list[str], *, quiet: bool, verbose: bool
) -> None:
    with progress(quiet=quiet, verbose=verbose) as shown, shown.stage("stage", 2) as step:
        step()
        shown.note("note [x]")
        step()
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[1].rstrip(":") for line in err.splitlines()] == expected


def test_progress_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress(verbose=True) as shown:
        with shown.stage("calibrate", 2) as step:
            step()
            step()
        shown.note("fused 3")
        with shown.stage("unknown length"):
            pass
    error = capsys.readouterr().err
    assert "calibrate" in error
    assert "2/2" in error
    assert "fused 3" in error
    assert "1/1" in error
