"""What others take of the cores, from a /proc that a test wrote."""

from pathlib import Path

import pytest
from hwc.toolchain.neighbours import Neighbours

TICKS = 100  # a second


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with an empty /proc, on a machine whose first two cores are ours."""
    (tmp_path / "proc").mkdir()
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr("os.sysconf", lambda _: TICKS)
    return tmp_path


def tell(root: Path, *, busy: float, idle: float, third: float = 0.0) -> None:
    """Write seconds that each of our cores was busy and idle, and that the third was busy."""
    own = f"{round(busy * TICKS)} 0 0 {round(idle * TICKS)} 0 0 0 0 7 7"
    lines = [
        "cpu 1 2 3",
        f"cpu0 {own}",
        f"cpu1 {own}",
        f"cpu2 {round(third * TICKS)} 0 0 0 0 0 0 0",
    ]
    (root / "proc/stat").write_text("\n".join([*lines, "intr 1"]))


def after(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, own: float, busy: float, third: float = 0.0
) -> float | None:
    """The share after ten seconds in which our cores were busy and this process ran."""
    monkeypatch.setattr("time.process_time", lambda: 5.0)
    tell(root, busy=3, idle=3)
    neighbours = Neighbours(root)
    monkeypatch.setattr("time.process_time", lambda: 5.0 + own)
    tell(root, busy=3 + busy, idle=3 + 10 - busy, third=third)
    return neighbours.share()


@pytest.mark.parametrize(
    ("own", "busy", "share"),
    [(0, 0, 0.0), (10, 5, 0.0), (20, 10, 0.0), (10, 10, 0.5), (0, 10, 1.0), (0, 1, 0.1)],
    ids=str,
)
def test_what_is_not_ours_is_theirs(
    proc: Path, monkeypatch: pytest.MonkeyPatch, own: float, busy: float, share: float
) -> None:
    assert after(proc, monkeypatch, own=own, busy=busy) == pytest.approx(share)


def test_cores_that_are_not_ours_do_not_count(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert after(proc, monkeypatch, own=0, busy=0, third=10) == 0.0


def test_no_time_has_passed(proc: Path) -> None:
    tell(proc, busy=1, idle=1)
    assert Neighbours(proc).share() is None


def test_a_system_that_does_not_say(proc: Path) -> None:
    assert Neighbours(proc).share() is None
