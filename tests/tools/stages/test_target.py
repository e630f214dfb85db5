"""The device that a name stands for, its backend, and whether it is at hand."""

import pytest
from hwc.toolchain.errors import DeviceError
from hwc.tools.request import Request
from hwc.tools.stages.target import find_target


def test_this_machine() -> None:
    target = find_target(Request("m.onnx"))
    assert (target.profile.name, target.backend.name, target.here) == ("host", "ort", True)
    assert target.notes == ()


@pytest.mark.parametrize(
    ("device", "backend"),
    [("a100", "trt"), ("jetson_orin", "trt"), ("ascend", "ascend"), ("dcu", "dcu")],
)
def test_short_names_say_what_they_stand_for(device: str, backend: str) -> None:
    target = find_target(Request("m.onnx", device=device))
    assert target.backend.name == target.dialect.name == backend
    assert target.profile.name in target.notes[0]
    assert target.here is target.backend.runs_here(target.profile)


def test_a_power_mode() -> None:
    full = find_target(Request("m.onnx", device="jetson_orin"))
    mode = next(name for name in full.profile.power_modes if name != full.profile.power_mode)
    low = find_target(Request("m.onnx", device="jetson_orin", power_mode=mode))
    assert low.profile.power_mode == mode
    assert low.profile.peak != full.profile.peak


@pytest.mark.parametrize(
    ("device", "mode", "hint"),
    [("jetson_orim", "", "jetson_orin"), ("jetson_orin", "999W", "known:")],
)
def test_what_does_not_exist_is_refused_with_what_does(device: str, mode: str, hint: str) -> None:
    with pytest.raises(DeviceError) as refusal:
        find_target(Request("m.onnx", device=device, power_mode=mode))
    assert hint in refusal.value.hint
