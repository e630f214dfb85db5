"""A small model and its data, taken through the first stages of a compilation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hwc.toolchain.progress import Silent
from hwc.tools.request import Request
from hwc.tools.stages.prepare import Prepared, prepare
from hwc.tools.stages.target import Target, find_target

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[N,64] x) => (float[N,8] y) <float[64,32] w, float[32] b, float[32,8] v>
{ h = Gemm (x, w, b) r = Relu (h) s = Sigmoid (r) y = MatMul (s, v) }"""
SAMPLES = 12


@dataclass(frozen=True)
class Begun:
    """A compilation that has come as far as its data.

    Attributes:
        request: What was asked.
        target: The device.
        prepared: Model and data.
    """

    request: Request
    target: Target
    prepared: Prepared


@pytest.fixture
def files(tmp_path: Path, parse_graph: Callable[[str], onnx.ModelProto]) -> Path:
    """A folder with `mlp.onnx` and `data.npz`."""
    onnx.save(parse_graph(TEXT), tmp_path / "mlp.onnx")
    x = np.random.default_rng(0).standard_normal((SAMPLES, 64)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    return tmp_path


@pytest.fixture
def begin(files: Path) -> Callable[..., Begun]:
    """Begins a compilation: for a device, with data or without."""

    def begun(device: str = "host", *, data: bool = True, **asked: object) -> Begun:
        request = Request(
            str(files / "mlp.onnx"),
            files / "out.hwc",
            device=device,
            data=str(files / "data.npz") if data else "",
            table=files / "table.sqlite" if device == "host" else None,
        )
        request = replace(request, **asked)  # type: ignore[arg-type]  # the fields of a request
        target = find_target(request)
        return Begun(request, target, prepare(request, target, Silent()))

    return begun
