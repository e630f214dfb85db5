"""Sessions open with the options that they were given, on a machine that has little installed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hwc.backends.ort_session import Layout, Options, open_session, settings_of
from hwc.toolchain.errors import BackendError

CONV = """
<ir_version: 10, opset_import: ["" : 17]>
g (float[1,8,16,16] x) => (float[1,8,16,16] y) <float[8,8,3,3] w> { y = Conv<pads=[1,1,1,1]>(x, w) }
"""
ABSENT = (
    "click",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "platformdirs",
    "rich",
    "scipy",
    "torch",
    "yaml",
)
ALONE = f"""
import sys
for name in {ABSENT!r}:
    sys.modules[name] = None
from hwc.backends.ort_session import open_session
"""


def test_numpy_and_onnxruntime_are_enough() -> None:
    subprocess.run([sys.executable, "-c", ALONE], check=True, timeout=60)


@pytest.mark.parametrize(
    ("layout", "blocked"), [(Layout.BLOCKED, True), (Layout.PLAIN, False)], ids=str
)
def test_the_layout(
    parse_graph: Callable[[str], onnx.ModelProto], tmp_path: Path, layout: Layout, *, blocked: bool
) -> None:
    path = tmp_path / "ran.onnx"
    data = parse_graph(CONV).SerializeToString()
    open_session(data, Options(1, layout=layout, optimised_path=path))
    domains = {node.domain for node in onnx.load(path, load_external_data=False).graph.node}
    assert ("com.microsoft.nchwc" in domains) is blocked


def test_what_the_runtime_is_told() -> None:
    settings = settings_of(Options(3, arena=False, prepack=False, spinning=False))
    assert settings.intra_op_num_threads == 3
    assert not settings.enable_cpu_mem_arena
    assert settings.get_session_config_entry("session.disable_prepacking") == "1"
    assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    "options",
    [Options(2, layout=Layout.PLAIN, arena=False), Options(2, prepack=False, spinning=False)],
    ids=["layout and arena", "prepacking and spinning"],
)
def test_the_numbers_stay_but_for_rounding(
    parse_graph: Callable[[str], onnx.ModelProto], options: Options
) -> None:
    data = parse_graph(CONV).SerializeToString()
    x = np.random.default_rng(0).standard_normal((1, 8, 16, 16), np.float32)
    plain, chosen = (open_session(data, o).run(None, {"x": x})[0] for o in (Options(1), options))
    np.testing.assert_allclose(plain, chosen, rtol=1e-5, atol=1e-5)


def test_a_refusal_names_the_runtime() -> None:
    with pytest.raises(BackendError, match=f"ONNX Runtime {onnxruntime.__version__} refuses"):
        open_session(b"no graph")
