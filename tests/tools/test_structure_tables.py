"""A changed structure is shown: a summary, every node in `hwc show`, and the stages."""

from dataclasses import replace
from pathlib import Path

import pytest
from hwc.toolchain.plan import NodeChoice, Plan, Precision
from hwc.toolchain.report import Measured, Report, StageRow, StructureRow
from hwc.tools.render import print_report
from hwc.tools.stages.deliver import with_structure
from hwc.tools.structure_tables import count_text

ROWS = (StructureRow("conv1", 0.5), StructureRow("conv2", 1.0, (8, 4), "tucker"))
REPORT = Report(
    "net.onnx",
    "host",
    "ort",
    Measured(100, macs=40_800_000, weights=270_000),
    Measured(50, macs=20_400_000, weights=90_000),
    structure=ROWS,
    stages=(
        StageRow("cut 1", 183.2, 90_000, 0.25, 0.011, kept=True),
        StageRow("cut 2", 150.0, 60_000, 0.5, 0.3, kept=False),
    ),
)


@pytest.mark.parametrize(
    "text",
    [
        "40.80 M",
        "20.40 M (2.00x fewer)",
        "90.00 k (3.00x fewer)",
        "2 nodes cut: conv1 keep 50%, conv2 rank 8x4",
        "183.2 µs",
        "1.10%",
        "kept",
        "undone",
    ],
)
def test_the_report_has(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_report(REPORT, Path("net.hwc"))
    assert text in capsys.readouterr().out


def test_a_report_of_before_has_none_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(replace(REPORT, original=Measured(1), structure=(), stages=()), Path("net.hwc"))
    out = capsys.readouterr().out
    assert not any(word in out for word in ("MACs", "stages", "structure"))


def test_json_keeps_it() -> None:
    assert Report.from_json(REPORT.to_json()) == REPORT


@pytest.mark.parametrize(
    ("count", "text"), [(7, "7"), (1500, "1.50 k"), (2_000_000_000, "2.00 G")], ids=str
)
def test_counts(count: int, text: str) -> None:
    assert count_text(count) == text


def test_the_plan_says_what_is_left_of_each_node() -> None:
    plan = with_structure(Plan.of({"conv1": NodeChoice(Precision.INT8)}), ROWS).as_dict()
    assert plan == {
        "conv1": NodeChoice(Precision.INT8, keep=0.5),
        "conv2": NodeChoice(rank=(8, 4), factors="tucker"),
    }
    assert Plan.from_json(Plan.of(plan).to_json()).as_dict() == plan
