"""`hwc bench` times a bundle beside its original."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import Result
from hwc.backends import ort
from hwc.backends.ort_options import read_options
from hwc.backends.ort_session import Options, open_session
from hwc.toolchain.codec import parse
from hwc.toolchain.errors import InputError
from hwc.toolchain.origin import Origin
from hwc.toolchain.report import Latency, Measured, Report
from hwc.toolchain.timing import Clock, Interval, Open, Paired, Spread, Times
from hwc.tools import bench, loaded

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Shop

Call = Callable[..., Result]


def test_beside_the_original(shop: "Shop", call: Call) -> None:
    result = call("bench", shop.make(), "--runs", 20)
    assert result.exit_code == 0
    assert "20 runs" in result.output
    for word in (*Clock, "original", "bundle", "speed-up"):
        assert word in result.output


def test_json(shop: "Shop", call: Call) -> None:
    result = call("bench", shop.make(), "--runs", 20, "--json")
    paired = parse(Paired, result.stdout)
    assert paired.runs == 20
    assert set(paired.ratio) == set(Clock)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """How the two sides were timed, and then, side by side, what was opened and how."""
    seen: list[object] = []

    def paired(open_a: Open, open_b: Open, *_: object, together: bool) -> Paired:
        seen.append(together)
        open_a(), open_b()
        one = dict.fromkeys(Clock, Spread(1, 1, 1))
        return Paired(one, one, dict.fromkeys(Clock, Interval(1, 1, 1)), 4, settled=True)

    def opened(source: Path, options: Options) -> object:
        seen.append((source.parent.name == "m.hwc", replace(options, threads=0)))
        return open_session(source, options)

    monkeypatch.setattr(loaded, "paired_openings", paired)
    monkeypatch.setattr(ort, "open_session", opened)
    return seen


# What is kept for the original, the threads, and whether both are open at once.
KEPT: dict[str, tuple[dict[str, str], int, bool]] = {
    "wait alike": ({"arena": "off"}, 2, True),
    "one spins": ({"spinning": "off"}, 2, False),
    "one has fewer threads": ({"threads": "1"}, 0, False),
    "one thread": ({"spinning": "off"}, 1, True),
}


@pytest.mark.parametrize("case", KEPT.values(), ids=list(KEPT))
def test_both_sides_are_opened_as_they_were_compared(
    shop: "Shop", call: Call, found: list[object], case: tuple[dict[str, str], int, bool]
) -> None:
    kept, threads, together = case
    path = shop.make(replace(shop.case, original_options=kept))
    result = call("bench", path, "--threads", threads)
    assert result.exit_code == 0, result.exception
    wanted = replace(read_options(kept), threads=0)
    assert found == [together, (False, wanted), (True, Options())]


@pytest.mark.parametrize(("asked", "runs"), [(2, 4), (20, 20), (21, 24)], ids=str)
def test_every_opening_has_its_share_of_the_runs(
    shop: "Shop", call: Call, asked: int, runs: int
) -> None:
    result = call("bench", shop.make(), "--runs", asked, "--json")
    assert parse(Paired, result.stdout).runs == runs


def test_alone_where_the_original_is_gone(shop: "Shop", call: Call) -> None:
    path = shop.make()
    shop.original.unlink()
    result = call("bench", path, "--runs", 20, "--json")
    assert "the original is not at hand" in result.stderr
    assert parse(Times, result.stdout).runs == 20
    assert "20 runs" in call("bench", path, "--runs", 20).stdout


def test_an_original_that_moved(shop: "Shop", call: Call) -> None:
    path, moved = shop.make(), shop.folder / "moved.onnx"
    shop.original.rename(moved)
    result = call("bench", path, "--runs", 10, "--json", "--original", moved)
    assert "ratio" in json.loads(result.stdout)


def test_another_model_is_not_the_original(shop: "Shop", call: Call) -> None:
    path = shop.make()
    result = call("bench", path, "--original", path / "model.onnx")
    assert isinstance(result.exception, InputError)
    assert "is not what" in str(result.exception)


def _times(us: float) -> Times:
    return Times(dict.fromkeys(Clock, Spread(us, us, us)), 10)


PREDICTIONS = {
    "too high": (110.0, 1, {"predicted_us": 110.0, "residual": 0.1}),
    "too low": (80.0, 1, {"predicted_us": 80.0, "residual": -0.2}),
    "of one thread, and two were timed": (110.0, 2, {}),
    "nothing was predicted": (None, 1, {}),
}


@pytest.mark.parametrize(("us", "threads", "wanted"), PREDICTIONS.values(), ids=list(PREDICTIONS))
def test_what_was_predicted_stands_beside_what_was_measured(
    us: float | None, threads: int, wanted: dict[str, float]
) -> None:
    predicted = None if us is None else Latency(us, Origin.ESTIMATED, "a table")
    report = Report("m", "host", "ort", Measured(1), Measured(1), predicted=predicted)
    found = bench.predicted_of(report, _times(100.0), threads)
    assert found == pytest.approx(wanted)
    paired = Paired.with_itself(_times(100.0))
    assert bench.predicted_of(report, paired, threads) == pytest.approx(wanted)


def test_a_slower_machine_is_not_the_prediction_s_fault() -> None:
    """The original takes 1.5 times what it took when the bundle was made."""
    then = Latency(200.0, Origin.MEASURED, "a clock")
    predicted = Latency(110.0, Origin.ESTIMATED, "a table")
    report = Report("m", "host", "ort", Measured(1, then), Measured(1), predicted=predicted)
    now = {clock: Spread(us, us, us) for clock, us in zip(Clock, (300.0, 300.0), strict=True)}
    paired = replace(Paired.with_itself(_times(150.0)), a=now)
    assert bench.predicted_of(report, paired, 1) == pytest.approx(
        {"predicted_us": 165.0, "residual": 0.1}
    )
