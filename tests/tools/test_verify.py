"""`hwc verify` finds changed bytes, wrong numbers and lost speed."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import Result
from hwc.toolchain.bundle import Bundle
from hwc.toolchain.codec import parse
from hwc.toolchain.engine import Backend, Status
from hwc.toolchain.errors import ConstraintError, IntegrityError, UsageError
from hwc.toolchain.timing import Clock, Interval, Open, Paired, Spread, Timing
from hwc.toolchain.verify import DATA, LATENCY, NUMBERS
from hwc.tools import verification
from hwc.tools.loaded import golden_feeds, load_engine
from hwc.tools.verification import Verification

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Shop

Call = Callable[..., Result]
NAN = """
<ir_version: 10, opset_import: ["" : 20]>
deployed (float[batch,4] x) => (float[batch,4] y) { d = Sub(x, x)  y = Div(d, d) }
"""


@pytest.fixture(autouse=True)
def ratio(monkeypatch: pytest.MonkeyPatch) -> dict[str, Interval]:
    """What the paired timing finds; the real one is not for a unit test."""
    found = {"ratio": Interval(1.5, 1.4, 1.6)}

    def paired(
        bundle: Bundle, backend: Backend, original: Open, *, threads: int, timing: Timing
    ) -> Paired:
        original()(golden_feeds(bundle))
        load_engine(bundle, backend, threads)(golden_feeds(bundle))
        spread = dict.fromkeys(Clock, Spread(1, 1, 1))
        others = dict.fromkeys(Clock, Interval(1, 1, 1)) | {timing.clock: found["ratio"]}
        return Paired(spread, spread, others, 30, settled=True)

    monkeypatch.setattr(verification, "compare", paired)
    return found


def statuses(result: Result) -> dict[str, Status]:
    """The checks of `--json` by name."""
    return {check.name: check.status for check in parse(Verification, result.stdout).checks}


def test_a_good_bundle(shop: "Shop", call: Call) -> None:
    result = call("verify", shop.make(), "--json")
    assert result.exit_code == 0
    assert set(statuses(result).values()) == {Status.PASSED}
    assert len(statuses(result)) >= 4
    assert json.loads(result.stdout)["golden"]["sqnr_db"] == "inf"


def test_the_table(shop: "Shop", call: Call) -> None:
    output = call("verify", shop.make()).output
    assert "1.500x (1.400x to 1.600x)" in output
    assert "SQNR inf dB" in output


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "plan.json", "manifest.json"])
def test_a_changed_byte(shop: "Shop", call: Call, name: str) -> None:
    path = shop.make()
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    result = call("verify", path)
    assert isinstance(result.exception, IntegrityError)
    assert name in str(result.exception)


@pytest.mark.parametrize(
    "change", [{"scale": 1.1}, {"graph": NAN}], ids=["other numbers", "not a number"]
)
def test_wrong_numbers(shop: "Shop", call: Call, change: dict[str, object]) -> None:
    path = shop.make(replace(shop.case, **change))  # type: ignore[arg-type] # by name
    result = call("verify", path, "--json")
    assert isinstance(result.exception, ConstraintError)
    assert NUMBERS in str(result.exception)
    assert statuses(result)[NUMBERS] is Status.FAILED


@pytest.mark.parametrize(
    ("found", "broken"),
    [(Interval(0.8, 0.7, 0.9), True), (Interval(0.99, 0.9, 1.1), False)],
    ids=["surely slower", "perhaps"],
)
def test_lost_speed(
    shop: "Shop", call: Call, ratio: dict[str, Interval], found: Interval, *, broken: bool
) -> None:
    ratio["ratio"] = found
    path = shop.make(replace(shop.case, speedup=Interval(1.5, 1.4, 1.6)))
    result = call("verify", path, "--json")
    assert isinstance(result.exception, ConstraintError) is broken
    assert (statuses(result)[LATENCY] is Status.FAILED) is broken


def test_no_speed_was_promised(shop: "Shop", call: Call, ratio: dict[str, Interval]) -> None:
    ratio["ratio"] = Interval(0.8, 0.7, 0.9)
    result = call("verify", shop.make(), "--json")
    assert statuses(result)[LATENCY] is Status.PASSED


def test_without_the_original_the_golden_inputs_stand_for_it(shop: "Shop", call: Call) -> None:
    path = shop.make()
    shop.original.write_bytes(b"another model")
    result = call("verify", path, "--json")
    assert result.exit_code == 0
    assert statuses(result)[NUMBERS] is Status.PASSED
    assert statuses(result)[LATENCY] is Status.OWED


@pytest.mark.parametrize(
    "change", [{"built": False}, {"device": "jetson"}], ids=["not built", "not here"]
)
def test_what_cannot_run_here_is_owed(shop: "Shop", call: Call, change: dict[str, object]) -> None:
    path = shop.make(replace(shop.case, **change))  # type: ignore[arg-type] # by name
    result = call("verify", path, "--json")
    assert result.exit_code == 0
    assert list(statuses(result).values()).count(Status.OWED) == 3


def test_data(shop: "Shop", call: Call) -> None:
    np.savez(shop.folder / "d.npz", x=np.ones((5, 4), np.float32))
    result = call("verify", shop.make(), "--data", shop.folder / "d.npz", "--json")
    assert statuses(result)[DATA] is Status.PASSED


def test_data_needs_the_original(shop: "Shop", call: Call) -> None:
    path = shop.make()
    shop.original.unlink()
    result = call("verify", path, "--data", "d.npz")
    assert isinstance(result.exception, UsageError)
