"""`hwc devices`: the list, one device, a board of one's own, JSON."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hwc.toolchain.device import ALIASES, load_profile, profile_names
from hwc.toolchain.errors import DeviceError
from hwc.tools.devices import devices

PROFILES = Path(__file__).resolve().parents[2] / "device_profiles"


def _run(*args: str) -> str:
    result = CliRunner().invoke(devices, args, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_list_has_every_device_and_every_short_name() -> None:
    lines = _run().splitlines()
    assert [line.split()[0] for line in lines[1:] if line and " is " not in line][:-1] == list(
        profile_names()
    )
    for short, name in ALIASES.items():
        assert f"{short} is {name}" in lines


def test_a_row_of_the_list() -> None:
    row = next(line for line in _run().splitlines() if line.startswith("dcu_z100"))
    assert " ".join(row.split()) == "dcu_z100 Hygon DCU Z100 dcu fp32 fp16 int8 1024 32 low"


@pytest.mark.parametrize("name", ["host", "a100_sxm_80gb", "jetson_orin_nano", "ascend_910b"])
def test_one_device_shows_every_figure_with_source_and_confidence(name: str) -> None:
    output = _run(name)
    words = " ".join(output.split())
    for key, _, figure in load_profile(name).figures():
        line = next(line for line in output.splitlines() if line.startswith(f"{key} "))
        assert f"{figure.value:.6g}" in line.split()
        assert figure.confidence.value in line.split()
        assert figure.source.split()[0] in words


def test_a_short_name_says_to_what_it_resolves() -> None:
    assert _run("dcu").startswith("dcu is dcu_k100_ai (Hygon DCU K100 AI)\n")
    assert " is " not in _run("dcu_k100_ai").splitlines()[0]


def test_json_of_one() -> None:
    body = json.loads(_run("jetson_orin", "--json"))
    assert (body["asked"], body["name"]) == ("jetson_orin", "jetson_agx_orin")
    assert body["power_modes"] == ["MAXN", "50W", "30W", "15W"]
    int8 = body["figures"]["peak.int8"]
    assert (int8["unit"], int8["confidence"]) == ("Tera-op/s", "derived")
    assert (
        int8["value"] == load_profile("jetson_orin").peak[load_profile("a100").precisions[3]].value
    )
    assert int8["source"]


def test_json_of_all() -> None:
    body = json.loads(_run("--json"))
    assert [device["name"] for device in body["devices"]] == list(profile_names())
    assert body["aliases"] == dict(ALIASES)


def test_board_of_ones_own(tmp_path: Path) -> None:
    text = (PROFILES / "jetson_orin_nx.yaml").read_text()
    text = text.replace("name: jetson_orin_nx", "name: my_board")
    path = tmp_path / "my_board.yaml"
    path.write_text(text.replace("title: NVIDIA", 'title: "[red]Own[/red]" # '))
    output = _run(str(path))
    assert output.startswith("my_board: [red]Own[/red]\n")  # no markup is read from a file


def test_unknown_device() -> None:
    with pytest.raises(DeviceError, match="did you mean 'a100'"):
        _run("a10")
