"""Device profiles: names, short names, power modes, and what each shipped profile must hold."""

from pathlib import Path

import pytest
import yaml
from hwc.toolchain.device import (
    ALIASES,
    HOST,
    Confidence,
    DeviceProfile,
    Figure,
    load_profile,
    nearest,
    profile_names,
    resolve,
)
from hwc.toolchain.errors import DeviceError
from hwc.toolchain.plan import Precision

SHIPPED = [name for name in profile_names() if name != HOST]
NVIDIA = [name for name in SHIPPED if name.startswith(("a100", "jetson"))]
JETSON = [name for name in SHIPPED if name.startswith("jetson")]
PROFILES = Path(__file__).resolve().parents[2] / "device_profiles"

# Dense operations an SM and clock: INT8 4096, FP16 and BF16 2048, TF32 1024.
NVIDIA_OPS = {
    Precision.INT8: 4096,
    Precision.FP16: 2048,
    Precision.BF16: 2048,
    Precision.FP32: 1024,
    Precision.INT4: 1024,
}


def test_every_promised_device_is_known() -> None:
    assert set(profile_names()) == {
        "host",
        "a100_sxm_40gb",
        "a100_sxm_80gb",
        "a100_pcie_80gb",
        "jetson_agx_orin",
        "jetson_orin_nx",
        "jetson_orin_nano",
        "ascend_310",
        "ascend_310p",
        "ascend_910b",
        "dcu_z100",
        "dcu_k100_ai",
    }


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_loads_and_every_figure_has_a_source(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    figures = {key: figure for key, _, figure in profile.figures()}
    assert {"units", "opset_max", "bandwidth", "cache", "memory", "launch"} <= set(figures)
    assert {"error.low", "error.high", "efficiency.conv", "efficiency.memory"} <= set(figures)
    for key, figure in figures.items():
        assert figure.value > 0, key
        assert figure.source.strip(), key
        assert isinstance(figure.confidence, Confidence), key


@pytest.mark.parametrize("name", SHIPPED)
def test_no_source_is_listed_in_vain(name: str) -> None:
    profile = load_profile(name)
    listed = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())["sources"].values()
    used = {figure.source for _, _, figure in profile.figures()}
    assert set(listed) == used


@pytest.mark.parametrize("name", NVIDIA)
def test_nvidia_peaks_are_units_times_clock_times_width(name: str) -> None:
    profile = load_profile(name)
    assert profile.clock is not None
    for precision, ops in NVIDIA_OPS.items():
        peak = profile.units * profile.clock.value * ops / 1e6
        assert profile.peak[precision].value == pytest.approx(peak, rel=0.005), precision


@pytest.mark.parametrize(
    ("name", "precisions"),
    [
        ("ascend_310", "fp16 int8"),
        ("ascend_310p", "fp16 int8"),
        ("ascend_910b", "fp16 int8"),
        ("dcu_z100", "fp32 fp16 int8"),
        ("dcu_k100_ai", "fp32 fp16 int8"),
        ("a100", "fp32 fp16 bf16 int8 int4"),
        ("jetson_orin", "fp32 fp16 bf16 int8 int4"),
        ("host", "fp32 int8 int4"),
    ],
    ids=lambda value: value.replace(" ", "-"),
)
def test_peak_lists_what_runs(name: str, precisions: str) -> None:
    assert " ".join(load_profile(name).precisions) == precisions


@pytest.mark.parametrize("name", [*SHIPPED, "host"])
def test_each_precision_of_activations_has_a_multiple_of_channels(name: str) -> None:
    profile = load_profile(name)
    assert set(profile.channel_multiple) == set(profile.peak) - {Precision.INT4}
    assert all(figure.value in {4, 8, 16, 32} for figure in profile.channel_multiple.values())


@pytest.mark.parametrize("name", ["dcu_z100", "dcu_k100_ai"])
def test_no_dcu_figure_poses_as_certain(name: str) -> None:
    assert {f.confidence for _, _, f in load_profile(name).figures()} == {Confidence.LOW}


@pytest.mark.parametrize(("short", "name"), ALIASES.items())
def test_short_name_says_what_it_resolves_to(short: str, name: str) -> None:
    resolved = resolve(short)
    assert resolved.profile.name == name
    assert resolved.asked == short
    assert resolved.note.startswith(f"{short} is {name} (")


def test_full_name_needs_no_note() -> None:
    assert resolve("ascend_310p").note == ""


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("jetson_agx_orn", "jetson_agx_orin"), ("A100", "a100"), ("dcu_k100", "dcu_k100_ai")],
)
def test_unknown_device_suggests_the_nearest(wrong: str, meant: str) -> None:
    with pytest.raises(DeviceError, match=f"did you mean '{meant}'") as caught:
        load_profile(wrong)
    assert "ascend_910b" in caught.value.hint  # and lists them all


def test_nothing_near_still_lists() -> None:
    assert nearest("qqqq", ["a", "b"]) == "known: a, b"


def _board(name: str) -> str:
    text = (PROFILES / "a100_sxm_40gb.yaml").read_text()
    return text.replace("name: a100_sxm_40gb", f"name: {name}")


@pytest.mark.parametrize("as_path", [True, False], ids=["Path", "str"])
def test_board_of_ones_own(tmp_path: Path, as_path: bool) -> None:  # noqa: FBT001 - a parameter of the test
    path = tmp_path / "my_board.yaml"
    path.write_text(_board("my_board"))
    profile = load_profile(path if as_path else str(path))
    assert profile.name == "my_board"
    assert profile.peak == load_profile("a100_sxm_40gb").peak


@pytest.mark.parametrize("name", ["a100_sxm_40gb", "host"])
def test_board_must_not_take_a_shipped_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(_board(name))
    with pytest.raises(DeviceError, match=f"'{name}' is one of hwc's own"):
        load_profile(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"nope\.yaml does not exist"):
        load_profile(tmp_path / "nope.yaml")


def test_orin_30w_has_half_the_units_and_less_than_half_the_clock() -> None:
    full = load_profile("jetson_agx_orin")
    low = full.in_mode("30W")
    assert (full.power_mode, low.power_mode) == ("MAXN", "30W")
    assert (full.units, low.units) == (16, 8)
    factor = 8 / 16 * 624.75 / 1300.5
    for precision in full.precisions:
        expected = full.peak[precision].value * factor
        assert low.peak[precision].value == pytest.approx(expected, rel=1e-3)
    assert low.bandwidth == full.bandwidth
    assert low.launch.value > full.launch.value
    assert "in mode 30W" in low.peak[Precision.INT8].source


def test_orin_nano_super_is_a_mode() -> None:
    plain = load_profile("jetson_orin_nano")
    boosted = plain.in_mode("MAXN_SUPER")
    assert boosted.peak[Precision.INT8].value == pytest.approx(33.4, rel=0.01)  # 67 sparse TOPS
    assert boosted.bandwidth.value == pytest.approx(102.4, rel=0.01)


@pytest.mark.parametrize("name", JETSON)
def test_every_mode_leads_back(name: str) -> None:
    profile = load_profile(name)
    for mode in profile.power_modes:
        back = profile.in_mode(mode).in_mode(profile.power_mode)
        assert _values(back) == pytest.approx(_values(profile))


def _values(profile: DeviceProfile) -> list[float]:
    return [figure.value for _, _, figure in profile.figures()]


def test_the_mode_it_is_in_changes_nothing() -> None:
    profile = load_profile("jetson_agx_orin")
    assert profile.in_mode("MAXN") == profile


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        ("jetson_agx_orin", "30w", r"no power mode '30w': .*30W"),
        ("a100", "MAXN", "no power mode 'MAXN': known: none"),
    ],
)
def test_unknown_mode(name: str, mode: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        load_profile(name).in_mode(mode)


def test_a_scaled_figure_is_trusted_no_more_than_its_reasons() -> None:
    sheet = Figure(10.0, "sheet", Confidence.DATASHEET)
    guess = Figure(0.5, "guess", Confidence.LOW)
    assert sheet.times(0.5, sheet, "in mode X") == Figure(
        5.0, "sheet; x 0.5 in mode X: sheet", Confidence.DERIVED
    )
    assert sheet.times(0.5, guess, "in mode X").confidence is Confidence.LOW
    assert sheet.times(1.0, guess, "in mode X") is sheet
