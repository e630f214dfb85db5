"""`hwc show` tells what runs in which precision, and why."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import Result
from hwc.toolchain.errors import IntegrityError
from hwc.toolchain.report import Report

if TYPE_CHECKING:
    from hwc.tests.tools.conftest import Shop

Call = Callable[..., Result]


def test_a_row_for_each_slot(shop: "Shop", call: Call) -> None:
    result = call("show", shop.make())
    assert result.exit_code == 0
    conv = next(line for line in result.output.splitlines() if "conv1" in line)
    assert "int8" in conv
    assert "10.0 µs" in conv
    assert "4.1x faster alone" in conv
    lstm = next(line for line in result.output.splitlines() if "lstm" in line)
    assert "recurrent" in lstm
    assert "6.5 µs" in lstm


def test_verbose_shows_the_alternatives(shop: "Shop", call: Call) -> None:
    path = shop.make()
    assert "41.0" not in call("show", path).output
    output = call("show", path, "-v").output
    assert "fp32 41.0 µs, int8 10.0 µs" in output
    assert "int8 2.00e-03" in output


def test_json_is_the_report(shop: "Shop", call: Call) -> None:
    output = call("show", shop.make(), "--json").output
    assert Report.from_json(output).slots[0].name == "conv1"
    assert json.loads(output)["compiled"]["latency"]["origin"] == "estimated"


def test_an_estimate_says_so(shop: "Shop", call: Call) -> None:
    assert "12.0 µs ±30% estimated" in call("show", shop.make()).output


def test_a_buildable_bundle_lists_what_is_owed_and_how_to_build(shop: "Shop", call: Call) -> None:
    output = call("show", shop.make(replace(shop.case, built=False))).output
    assert "hwc build ." in output
    assert output.count("not checked here") == 3


def test_the_path_comes_last(shop: "Shop", call: Call) -> None:
    path = shop.make()
    assert call("show", path).output.splitlines()[-1] == str(path)


def test_a_zip(shop: "Shop", call: Call) -> None:
    assert "conv1" in call("show", shop.make(replace(shop.case, archive=True))).output


def test_a_changed_byte(shop: "Shop", call: Call) -> None:
    path = shop.make()
    with (path / "report.json").open("ab") as file:
        file.write(b" ")
    result = call("show", path)
    assert isinstance(result.exception, IntegrityError)
    with pytest.raises(IntegrityError, match=r"report\.json"):
        raise result.exception
