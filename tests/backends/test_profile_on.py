"""`hwc profile --on ssh://…`: the same measurement on another machine, a real sshd on loopback."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest
from click.testing import CliRunner
from hwc.backends.remote_ort import RemoteOrt
from hwc.toolchain.latency.table import LatencyTable
from hwc.tools import measuring
from hwc.tools.cli import hwc
from hwc.tools.stages import price
from onnx.parser import parse_model

if TYPE_CHECKING:
    from hwc.tests.backends.conftest import Sshd

NET = """
<ir_version: 10, opset_import: ["" : 18]>
net (float[1,8,8,8] x) => (float[1,8,8,8] y) <float[8,8,1,1] w = {WEIGHTS}>
{ a = Conv (x, w)  b = Relu (a)  y = Add (b, x) }
""".replace("WEIGHTS", ", ".join(f"{(i * 7) % 11 / 11 - 0.5:.3f}" for i in range(64)))


def test_rows_come_back_and_the_table_holds(
    sshd: "Sshd", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(parse_model(NET), tmp_path / "net.onnx")
    monkeypatch.setattr(price, "RUNS", 4)
    monkeypatch.setattr(measuring, "RemoteOrt", partial(RemoteOrt, ssh=sshd.ssh))
    words = [
        "profile",
        str(tmp_path / "net.onnx"),
        "--on",
        f"{sshd.address()}?python={sys.executable}",
    ]
    words += ["--device", "my_board", "--table", str(tmp_path / "t.sqlite"), "--probes", "1"]
    result = CliRunner().invoke(hwc, [*words, "--checks", "1", "-q", "--json"])
    assert result.exception is None, result.exception
    (found,) = json.loads(result.stdout)
    assert found["builds"] >= 2
    with LatencyTable.open(tmp_path / "t.sqlite") as table:
        (setting,) = table.settings()
        rows = list(table.kernels(setting))
    assert (setting.device, setting.runtime) == ("my_board", "onnxruntime")
    assert {"fp32", "int8"} <= {row.choice for row in rows}
