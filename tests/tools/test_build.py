"""`hwc build` makes the owed engine, checks it, and replaces the bundle only if all is well."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import Result
from hwc.toolchain.bundle import Bundle
from hwc.toolchain.errors import ConstraintError, DeviceError, OutputError
from hwc.toolchain.origin import Origin
from hwc.toolchain.timing import Clock, Interval, Paired, Spread
from hwc.toolchain.verify import NUMBERS
from hwc.tools import build, verification

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Shop

Call = Callable[..., Result]


@pytest.fixture(autouse=True)
def ratio(monkeypatch: pytest.MonkeyPatch) -> dict[str, Interval]:
    """What the paired timing finds; the real one is not for a unit test."""
    found = {"ratio": Interval(1.5, 1.4, 1.6)}

    def paired(*_: object, **__: object) -> Paired:
        a, b = dict.fromkeys(Clock, Spread(3, 2, 4)), dict.fromkeys(Clock, Spread(2, 1, 3))
        return Paired(a, b, dict.fromkeys(Clock, found["ratio"]), 30, settled=True)

    monkeypatch.setattr(verification, "compare", paired)
    return found


@pytest.mark.parametrize("archive", [False, True], ids=["folder", "zip"])
def test_the_engine_is_there_and_the_estimate_gone(
    shop: "Shop", call: Call, *, archive: bool
) -> None:
    path = shop.make(replace(shop.case, built=False, archive=archive))
    before = shop.listing()
    result = call("build", path)
    assert result.exit_code == 0, result.exception
    assert shop.listing() == before
    with Bundle.open(path) as bundle:
        assert path.is_file() is archive
        assert bundle.manifest.engine is not None
        assert not bundle.manifest.owed
        report = bundle.report()
        assert bundle.manifest.checks == report.checks
    assert report.compiled.latency is not None
    assert report.compiled.latency.origin is Origin.MEASURED
    assert "this test's host, ort 1" in report.compiled.latency.source
    assert report.original.latency is not None
    assert (report.original.latency.us, report.compiled.latency.us) == (3, 2)
    assert report.speedup == Interval(1.5, 1.4, 1.6)
    assert report.attempts[-1].decision.accepted


def test_without_the_original_the_engine_is_timed_alone(shop: "Shop", call: Call) -> None:
    path = shop.make(replace(shop.case, built=False))
    shop.original.unlink()
    assert call("build", path).exit_code == 0
    with Bundle.open(path) as bundle:
        report = bundle.report()
        assert [check.name for check in bundle.manifest.owed] == ["latency beside the original"]
    assert report.speedup is None
    assert report.compiled.latency is not None
    assert report.compiled.latency.runs >= 30


def test_another_output_leaves_the_old(shop: "Shop", call: Call) -> None:
    path = shop.make(replace(shop.case, built=False))
    target = shop.folder / "built.hwc"
    assert call("build", path, "-o", target).exit_code == 0
    with Bundle.open(path) as old, Bundle.open(target) as new:
        assert old.manifest.engine is None
        assert new.manifest.engine is not None
    assert isinstance(call("build", path, "-o", target).exception, OutputError)
    assert call("build", path, "-o", target, "--force").exit_code == 0


def refused(shop: "Shop", result: Result, reason: str) -> None:
    """The gate said why, and the bundle is as it was."""
    assert isinstance(result.exception, ConstraintError)
    assert reason in str(result.exception)
    assert shop.listing() == ["m.hwc", "original.onnx"]
    with Bundle.open(shop.folder / "m.hwc") as bundle:
        assert bundle.manifest.engine is None


def test_a_wrong_engine_is_not_delivered(shop: "Shop", call: Call) -> None:
    path = shop.make(replace(shop.case, built=False, scale=1.1))
    refused(shop, call("build", path), NUMBERS)


def test_a_slow_engine_is_not_delivered(
    shop: "Shop", call: Call, ratio: dict[str, Interval]
) -> None:
    ratio["ratio"] = Interval(0.9, 0.8, 1.05)
    path = shop.make(replace(shop.case, built=False))
    refused(shop, call("build", path), "not surely faster")


def test_a_build_that_breaks_leaves_the_old(
    shop: "Shop", call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "verify_bundle", broken)
    path = shop.make(replace(shop.case, built=False))
    before = shop.listing()
    assert call("build", path).exit_code != 0
    assert shop.listing() == before
    with Bundle.open(path) as bundle:
        assert bundle.manifest.engine is None


def test_the_device_is_not_here(shop: "Shop", call: Call) -> None:
    result = call("build", shop.make(replace(shop.case, built=False, device="jetson")))
    assert isinstance(result.exception, DeviceError)
    with Bundle.open(shop.folder / "m.hwc") as bundle:
        assert len(bundle.manifest.owed) == 3
