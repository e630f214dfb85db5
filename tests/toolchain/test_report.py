"""A report survives its round trip exactly, whatever it holds."""

import json

import pytest
from hwc.toolchain.engine import Check, Status
from hwc.toolchain.errors import InputError
from hwc.toolchain.origin import Origin
from hwc.toolchain.report import Attempt, Latency, Measured, Quality, Report, SlotRow
from hwc.toolchain.timing import Clock, Interval, Spread
from hwc.toolchain.verify import GateDecision, Numbers
from hypothesis import given, settings
from hypothesis import strategies as st

INTERVAL = st.builds(Interval, *[st.floats(allow_nan=False)] * 3)
TABLE = st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=3)
FULL = Report(
    model="m.onnx",
    device="host",
    backend="ort 1.2",
    original=Measured(100, Latency(5.0, Origin.ESTIMATED, "a table", residual=0.2)),
    compiled=Measured(
        50,
        Latency.measured(Spread(3, 2, 4), 30, Clock.CPU, "a test"),
        Quality("top1", Interval(0.7, 0.6, 0.8), 500, "report"),
        {"int8": 3, "fp32": 1},
    ),
    speedup=Interval(1.5, 1.4, 1.6),
    golden=Numbers(),
    attempts=(Attempt("1", GateDecision(accepted=True, reasons=("fast",))),),
    checks=(Check("a", Status.OWED, "b"),),
)


@settings(max_examples=50)
@given(
    rows=st.lists(
        st.builds(SlotRow, st.text(), st.text(), st.just("int8"), st.text(), TABLE, TABLE)
    ),
    drop=st.none() | INTERVAL,
    notes=st.lists(st.text()),
    seconds=TABLE,
)
def test_round_trip_is_exact(
    rows: list[SlotRow], drop: Interval | None, notes: list[str], seconds: dict[str, float]
) -> None:
    report = Report(
        FULL.model,
        FULL.device,
        FULL.backend,
        FULL.original,
        FULL.compiled,
        slots=tuple(rows),
        drop=drop,
        notes=tuple(notes),
        seconds=seconds,
    )
    assert Report.from_json(report.to_json()) == report


def test_the_full_report() -> None:
    again = Report.from_json(FULL.to_json().encode())
    assert again == FULL
    assert again.compiled.latency is not None
    assert again.compiled.latency.origin is Origin.MEASURED


def test_a_measurement_carries_its_median_and_its_spread() -> None:
    latency = Latency.measured(Spread(3, 2, 4), 30, Clock.WALL, "who")
    assert (latency.us, latency.runs, latency.origin) == (3, 30, Origin.MEASURED)


def test_an_unknown_key_is_refused() -> None:
    body = json.loads(FULL.to_json()) | {"new": 1}
    with pytest.raises(InputError, match="unknown key 'new'"):
        Report.from_json(json.dumps(body))
