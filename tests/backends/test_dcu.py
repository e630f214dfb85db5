"""The DCU backend: what it refuses, its one command, and MIGraphX against a fake module."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends.dcu import Dcu
from hwc.backends.signature import Signature
from hwc.toolchain.device import load_profile
from hwc.toolchain.engine import Engine, Status
from hwc.toolchain.errors import BackendError
from hwc.toolchain.plan import Precision

PROFILE = load_profile("dcu_k100_ai")
COMMAND = "migraphx-driver compile --onnx m.onnx --gpu --enable-offload-copy --binary -o m.mxr"


def save(path: Path, body: str, opset: int = 17, inputs: str = "float[2,8] x") -> Path:
    """Write a graph of a few lines as a file."""
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => (float[] y) {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(onnx.shape_inference.infer_shapes(proto), path)
    return path


def test_fp16_by_casts_and_no_int8() -> None:
    """The graph carries its precisions; what no table measured faster is not offered."""
    dialect = Dcu().dialect(PROFILE)
    assert dialect.casts
    assert set(dialect.ops) == {Precision.FP16}
    assert dialect.operators is not None
    assert all(dialect.operators.supports(op, 19) for op in dialect.ops[Precision.FP16])


def test_a_legal_graph_passes(tmp_path: Path) -> None:
    """fp16 nodes between Casts are legal."""
    body = "[a] h = Cast<to=10>(x) [b] r = Relu(h) [c] y = Cast<to=1>(r)"
    checks = Dcu().check(save(tmp_path / "m.onnx", body), PROFILE)
    assert [c.status for c in checks] == [Status.PASSED] * 5


@pytest.mark.parametrize(
    ("body", "opset", "inputs", "said"),
    [
        ("[n] y = Mish(x)", 18, "float[2,8] x", "Mish 'n': not in the table"),
        ("[n] y = Relu(x)", 20, "float[2,8] x", "opset 20 is above 19"),
        (
            'p = Constant<value_ints=[0,1,0,1]>() [n] y = Pad<mode="edge">(x, p)',
            17,
            "float[2,8] x",
            "mode=edge is not supported",
        ),
        (
            "[n] y = Reshape<allowzero=1>(x, s)",
            17,
            "float[2,8] x, int64[2] s",
            "allowzero=1 is not supported",
        ),
        ("[n] y = Tile(x, s)", 17, "float[2,8] x, int64[2] s", "input 1 must be a constant"),
        (
            "[n] y, i = MaxPool<kernel_shape=[2,2]>(x)",
            17,
            "float[1,1,4,4] x",
            "only its first output",
        ),
        (
            """w = Constant<value = float[1,4,8] {0.0}>()
               [n] y = LSTM<hidden_size=1, activations=["HardSigmoid", "Tanh", "Tanh"]>(x, w, w)""",
            17,
            "float[2,1,8] x",
            "activations=HardSigmoid is not supported",
        ),
    ],
    ids=["operator", "opset", "attribute", "flag", "constant", "outputs", "activations"],
)
def test_what_migraphx_documents_as_missing_fails_and_is_named(
    tmp_path: Path, *, body: str, opset: int, inputs: str, said: str
) -> None:
    """The table's limits are checked, not only its names."""
    path = tmp_path / "m.onnx"
    if "LSTM" in body:
        body = body.replace("{0.0}", "{" + ",".join(["0.0"] * 32) + "}")
    details = [
        check.detail
        for check in Dcu().check(save(path, body, opset, inputs), PROFILE)
        if check.status is Status.FAILED
    ]
    assert any(said in detail for detail in details), details


def test_the_command_is_exact() -> None:
    """Without --fp16, which would lower what the plan keeps in fp32."""
    assert Dcu().build_commands(Path("some/folder/m.onnx"), PROFILE) == (COMMAND,)


def tool(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a fake `migraphx-driver` on the path."""
    (folder / "bin").mkdir()
    script = folder / "bin" / "migraphx-driver"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")


def test_build_runs_the_driver_in_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs is what `build_commands` says; the signature is kept beside the engine."""
    tool(tmp_path, monkeypatch, 'echo "migraphx-driver $*" > said; touch m.mxr')
    path = save(tmp_path / "m.onnx", "[n] y = Relu(x)")
    folder = tmp_path / "bundle"
    folder.mkdir()
    engine = Dcu().build(path, PROFILE, folder)
    assert engine.files == ("m.mxr", "m.io.json")
    assert (folder / "said").read_text().strip() == COMMAND
    assert Signature.read(folder / "m.io.json").outputs == (("y", "float32"),)


@pytest.mark.parametrize(
    ("body", "said"),
    [("echo no GPU; exit 1", "ended with 1: no GPU"), ("exit 0", "wrote no m.mxr")],
    ids=["refused", "nothing-written"],
)
def test_a_failed_build_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, body: str, said: str
) -> None:
    """What the driver printed last is in the message."""
    tool(tmp_path, monkeypatch, body)
    with pytest.raises(BackendError, match=said):
        Dcu().build(save(tmp_path / "m.onnx", "[n] y = Relu(x)"), PROFILE, tmp_path)


def test_without_migraphx_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine has neither the driver nor the module."""
    monkeypatch.setenv("PATH", str(tmp_path))
    path = save(tmp_path / "m.onnx", "[n] y = Relu(x)")
    backend = Dcu()
    assert not backend.runs_here(PROFILE)
    assert backend.version() is None
    with pytest.raises(BackendError, match="migraphx-driver") as caught:
        backend.build(path, PROFILE, tmp_path)
    assert "hwc build" in caught.value.hint
    Signature.of(ir.load(path)).write(tmp_path / "m.io.json")
    with pytest.raises(BackendError, match="`migraphx`"):
        backend.load(tmp_path, Engine(("m.mxr", "m.io.json"), "MIGraphX", "gfx928"))


class Program:
    """A program as MIGraphX's Python module gives it: results in order, without names."""

    def run(self, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Compute y = x + 1 in float16; refuse a wrong type as the module does."""
        if arrays["x"].dtype != np.float32:
            raise RuntimeError("wrong type")
        return [(arrays["x"] + 1).astype(np.float16)]


def load(path: str) -> Program:
    """Refuse what is not there, as the module does."""
    if not Path(path).exists():
        raise RuntimeError("Failure opening file")
    return Program()


def test_an_engine_runs_and_gives_the_graphs_names_and_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """float64 goes in as the graph's float32, float16 comes out as float32."""
    monkeypatch.setitem(sys.modules, "migraphx", SimpleNamespace(load=load, argument=np.asarray))
    path = save(tmp_path / "m.onnx", "[n] y = Relu(x)")
    Signature.of(ir.load(path)).write(tmp_path / "m.io.json")
    engine = Engine(("m.mxr", "m.io.json"), "MIGraphX", "gfx928")
    with pytest.raises(BackendError, match="MIGraphX cannot load"):
        Dcu().load(tmp_path, engine)
    (tmp_path / "m.mxr").touch()
    (found,) = Dcu().load(tmp_path, engine)({"x": np.zeros((2, 8))}).items()
    assert found[0] == "y"
    np.testing.assert_array_equal(found[1], np.ones((2, 8), np.float32))


def test_a_failing_run_is_an_error_of_the_backend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MIGraphX raises RuntimeError; users see what failed and what to do."""
    monkeypatch.setitem(sys.modules, "migraphx", SimpleNamespace(load=load, argument=np.asarray))
    path = save(tmp_path / "m.onnx", "[n] f = Cast<to=1>(x) y = Relu(f)", 17, "int64[2,8] x")
    Signature.of(ir.load(path)).write(tmp_path / "m.io.json")
    (tmp_path / "m.mxr").touch()
    run = Dcu().load(tmp_path, Engine(("m.mxr", "m.io.json"), "MIGraphX", "gfx928"))
    with pytest.raises(BackendError, match="wrong type"):
        run({"x": np.zeros((2, 8))})


def test_a_signature_that_was_changed_is_refused(tmp_path: Path) -> None:
    """The file beside the engine is read with care."""
    (tmp_path / "m.io.json").write_text('{"inputs": [{"name": "x"}], "outputs": []}')
    with pytest.raises(BackendError, match=r"m\.io\.json"):
        Signature.read(tmp_path / "m.io.json")
