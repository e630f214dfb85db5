"""Figures put into a profile's text: the lines asked for change, and nothing else does."""

from pathlib import Path

import pytest
from hwc.toolchain.device import Confidence
from hwc.toolchain.device_yaml import parse_profile
from hwc.toolchain.errors import DeviceError
from hwc.tools.published.rewrite import NewFigure, rewrite

PROFILE = Path(__file__).resolve().parents[3] / "device_profiles/a100_sxm_40gb.yaml"
NEW = NewFigure(12345.678, "fit", Confidence.LOW)


def test_only_the_lines_asked_for_change() -> None:
    old = PROFILE.read_text()
    new = rewrite(
        old,
        PROFILE.name,
        figures={"launch": NEW, "efficiency.conv": NewFigure(0.1, "fit", Confidence.DERIVED)},
        sources={"fit": 'a "new" \\ fit'},
    )
    changed = [b for a, b in zip(old.splitlines(), new.splitlines(), strict=True) if a != b]
    assert changed == [
        '  fit: "a \\"new\\" \\\\ fit"',
        "launch: {value: 12300, source: fit, confidence: low}",
        "  conv: {value: 0.1, source: fit, confidence: derived}",
    ]
    profile = parse_profile(new.encode(), PROFILE.name)
    assert profile.launch.value == 12300
    assert profile.launch.source == 'a "new" \\ fit'


def test_a_comment_stays() -> None:
    new = rewrite(PROFILE.read_text(), "x", figures={"cache_bandwidth": NEW}, sources={})
    line = "cache_bandwidth: {value: 12300, source: fit, confidence: low}  # 5120 bytes a clock"
    assert line in new.splitlines()


def test_the_same_key_in_another_table_stays() -> None:
    new = rewrite(PROFILE.read_text(), "x", figures={"efficiency.memory": NEW_SHARE}, sources={})
    assert "memory: {value: 40, source: sheet, confidence: datasheet}" in new.splitlines()
    assert f"  memory: {NEW_SHARE}" in new.splitlines()


NEW_SHARE = NewFigure(0.5, "fit", Confidence.LOW)


@pytest.mark.parametrize(
    ("figures", "sources", "missing"),
    [
        ({"efficiency.pool": NEW_SHARE}, {}, "efficiency.pool"),
        ({}, {"borrowed": "x"}, "sources.borrowed"),
    ],
    ids=["figure", "source"],
)
def test_a_figure_without_a_place_is_refused(
    figures: dict[str, NewFigure], sources: dict[str, str], missing: str
) -> None:
    with pytest.raises(DeviceError, match=f"x has no '{missing}'"):
        rewrite(PROFILE.read_text(), "x", figures=figures, sources=sources)


def test_a_figure_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(DeviceError, match="more than the whole peak"):
        rewrite(PROFILE.read_text(), "x", figures={"efficiency.conv": NEW}, sources={})
