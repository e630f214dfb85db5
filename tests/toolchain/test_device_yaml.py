"""Profiles as YAML: what a wrong key or figure is told."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hwc.toolchain.device import Confidence, Figure
from hwc.toolchain.device_yaml import parse_profile
from hwc.toolchain.errors import DeviceError
from hwc.toolchain.plan import Precision


def _figure(value: object, source: str = "sheet") -> dict[str, Any]:
    return {"value": value, "source": source, "confidence": "datasheet"}


def _board() -> dict[str, Any]:
    return {
        "name": "board",
        "title": "A board",
        "backend": "trt",
        "target": "sm87",
        "sources": {"sheet": "its data sheet"},
        "units": _figure(8),
        "opset_max": _figure(20),
        "peak": {"fp16": _figure(10.5)},
        "bandwidth": _figure(100),
        "cache": _figure(2),
        "memory": _figure(8),
        "launch": _figure(5),
    }


def _parse(body: object) -> object:
    return parse_profile(yaml.safe_dump(body).encode(), "board.yaml")


def test_the_least_a_profile_needs() -> None:
    profile = parse_profile(yaml.safe_dump(_board()).encode(), "board.yaml")
    assert (profile.units, profile.opset_max, profile.power_mode) == (8, 20, "")
    assert profile.peak == {Precision.FP16: Figure(10.5, "its data sheet", Confidence.DATASHEET)}
    assert (profile.sparse_2_4, profile.clock, profile.grain, profile.error) == (None,) * 4


def _set(*path: str, to: object) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        for key in path[:-1]:
            body = body[key]
        body[path[-1]] = to

    return change


def _drop(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        for key in path[:-1]:
            body = body[key]
        del body[path[-1]]

    return change


def _modes(**changes: object) -> Callable[[dict[str, Any]], None]:
    mode = {"clock": _figure(1), "bandwidth": _figure(1), "units": _figure(8), **changes}

    def change(body: dict[str, Any]) -> None:
        body["power_mode"] = "MAXN"
        body["power_modes"] = {"MAXN": mode}

    return change


def _power(**changes: object) -> Callable[[dict[str, Any]], None]:
    figures = {"board_watts": _figure(15), "idle_watts": _figure(2), "pj_per_byte": _figure(40)}
    return _set("power", to={**figures, "pj_per_op": {"fp16": _figure(1)}, **changes})


def test_a_power_model_is_read_whole() -> None:
    body = _board()
    _power()(body)
    profile = parse_profile(yaml.safe_dump(body).encode(), "board.yaml")
    figures = {key: figure.value for key, _, figure in profile.figures()}
    assert {key: value for key, value in figures.items() if key.startswith("power.")} == {
        "power.board_watts": 15,
        "power.idle_watts": 2,
        "power.pj_per_op.fp16": 1,
        "power.pj_per_byte": 40,
    }


WRONG = {
    "power-of-another-precision": (
        _power(pj_per_op={"int8": _figure(1)}),
        "'power.pj_per_op.int8' is not a key of a device profile.*fp16",
    ),
    "power-in-part": (_power(pj_per_op={}), "'power.pj_per_op.fp16' is missing"),
    "idle-above-board": (_power(idle_watts=_figure(15)), "'power.idle_watts' is not below"),
    "unknown-key": (_set("bandwith", to=_figure(1)), "'bandwith' is not a key.*'bandwidth'"),
    "unknown-figure-key": (_set("launch", "valu", to=1), "'launch.valu' is not.*'value'"),
    "missing-key": (_drop("memory"), "'memory' is missing"),
    "missing-source": (_drop("memory", "source"), "'memory.source' is missing"),
    "negative": (_set("launch", to=_figure(-5)), "'launch.value' is -5: give a number from"),
    "zero": (_set("cache", to=_figure(0)), "'cache.value' is 0: give a number"),
    "nan": (_set("cache", to=_figure(float("nan"))), "'cache.value' is nan"),
    "infinite": (_set("cache", to=_figure(float("inf"))), "'cache.value' is inf"),
    "huge": (_set("cache", to=_figure(10**300)), "'cache.value' is 10000"),
    "text-for-number": (_set("cache", to=_figure("4 MB")), r"'4 MB' \(str\), not a number"),
    "bool-for-number": (_set("cache", to=_figure(value=True)), r"True \(bool\), not a number"),
    "bare-number": (_set("cache", to=4), r"'cache' is 4 \(int\), not a table"),
    "empty": (_set("cache", to=None), "'cache' is empty, not a table"),
    "number-for-text": (_set("title", to=4), r"'title' is 4 \(int\), not text"),
    "empty-text": (_set("title", to=" "), "'title' is ' '"),
    "escape-sequence": (_set("title", to="\x1b[31mred"), "'title' is not one printable line"),
    "long-text": (_set("title", to="x" * 500), "at most 400 characters"),
    "fraction-of-a-unit": (_set("units", to=_figure(7.5)), "'units' is 7.5, not a whole number"),
    "no-peak": (_set("peak", to={}), "'peak' is empty"),
    "unknown-precision": (_set("peak", to={"fp61": _figure(1)}), "'peak.fp61'.*'fp16'"),
    "unknown-backend": (_set("backend", to="tr"), "'backend' is 'tr': did you mean 'trt'"),
    "unknown-source": (_set("cache", to=_figure(1, "shet")), "'cache.source' is 'shet'.*'sheet'"),
    "unknown-confidence": (_set("cache", "confidence", to="lo"), "is 'lo': did you mean 'low'"),
    "name-with-slash": (_set("name", to="../x"), "'name' is '../x'"),
    "efficiency-over-one": (
        _set("efficiency", to={"conv": _figure(1.2)}),
        "'efficiency.conv' is 1.2, more than the whole",
    ),
    "unknown-kind": (_set("efficiency", to={"cnov": _figure(1)}), "'efficiency.cnov'.*'conv'"),
    "error-upside-down": (
        _set("error", to={"low": _figure(2), "high": _figure(1)}),
        "'error' has low above high",
    ),
    "mode-without-modes": (_set("power_mode", to="MAXN"), "there are no 'power_modes'"),
    "modes-without-mode": (_set("power_modes", to={}), "'power_mode' is missing"),
    "no-modes": (lambda b: b.update(power_mode="X", power_modes={}), "'power_modes' is empty"),
    "mode-is-not-the-profile": (_modes(units=_figure(4)), "MAXN' is the mode of the profile's own"),
    "fraction-in-mode": (_modes(units=_figure(4.5)), "'power_modes.MAXN.units' is 4.5"),
    "unknown-key-in-mode": (_modes(wats=_figure(4)), "'power_modes.MAXN.wats'.*'watts'"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_wrong_profile(change: Callable[[dict[str, Any]], None], message: str) -> None:
    body = _board()
    change(body)
    with pytest.raises(DeviceError, match=message) as caught:
        _parse(body)
    assert str(caught.value).startswith("board.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", [[1], "text", 3, None], ids=["list", "text", "number", "empty"])
def test_not_a_table(body: object) -> None:
    with pytest.raises(DeviceError, match=r"the file is .*, not a table of keys"):
        _parse(body)


def test_channel_multiples_by_precision() -> None:
    multiples = {"fp16": _figure(8), "int8": _figure(16)}
    profile = parse_profile(
        yaml.safe_dump({**_board(), "channel_multiple": multiples}).encode(), "board.yaml"
    )
    found = {precision: figure.value for precision, figure in profile.channel_multiple.items()}
    assert found == {Precision.FP16: 8, Precision.INT8: 16}
    listed = {name for name, unit, _ in profile.figures() if unit == "channels"}
    assert listed == {"channel_multiple.fp16", "channel_multiple.int8"}


def test_no_channel_multiple_is_none() -> None:
    profile = parse_profile(yaml.safe_dump(_board()).encode(), "board.yaml")
    assert profile.channel_multiple == {}


@pytest.mark.parametrize(
    "multiple",
    [
        pytest.param({"fp12": _figure(8)}, id="no such precision"),
        pytest.param({"fp16": 8}, id="no source"),
        pytest.param({"fp16": _figure("eight")}, id="no number"),
        pytest.param({"fp16": _figure(0)}, id="zero"),
        pytest.param({"fp16": _figure(-8)}, id="negative"),
        pytest.param({"fp16": _figure(7.5)}, id="not whole"),
    ],
)
def test_a_wrong_channel_multiple_is_named(multiple: object) -> None:
    with pytest.raises(DeviceError, match="channel_multiple"):
        _parse({**_board(), "channel_multiple": multiple})
