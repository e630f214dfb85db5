"""The Ascend backend: what it refuses, what it tells ATC, and pyACL against a fake device."""

import ctypes
import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.backends import amct
from hwc.backends.ascend import Ascend
from hwc.backends.signature import Signature
from hwc.toolchain import hints
from hwc.toolchain.device import load_profile
from hwc.toolchain.engine import Engine, Status
from hwc.toolchain.errors import BackendError, InputError
from hwc.toolchain.plan import Precision

PROFILE = load_profile("ascend_310p")
CONV = """<ir_version: 8, opset_import: ["" : {opset}]>
g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,3,3] w = {{{weights}}}> {{
    [conv] c = Conv<pads=[1,1,1,1]>(x, w)
    [relu] r = Relu(c)
    [pow] y = Pow(r, r)
}}"""
TWO_INPUTS = """<ir_version: 8, opset_import: ["" : 17]>
g (float[2,8] x, int64 rate) => (float[2,8] y) {
    [cast] f = Cast<to=1>(rate)
    [mul] y = Mul(x, f)
}"""


def save(text: str, path: Path, lowered: dict[str, str] | None = None) -> Path:
    """Write ONNX text as a file, with the precisions that a plan gave its nodes."""
    proto = onnx.parser.parse_model(text)
    if lowered:
        onnx.helper.set_model_props(proto, {hints.KEY: json.dumps(lowered)})
    onnx.save(proto, path)
    return path


def conv(opset: int = 17) -> str:
    """A small convolution."""
    return CONV.format(opset=opset, weights=",".join(["0.5"] * 108))


def graph(body: str, opset: int = 17, inputs: str = "float[2,8] x") -> str:
    """A graph of one line."""
    domains = f'"" : {opset}, "my.domain" : 1'
    head = f"<ir_version: 10, opset_import: [{domains}]> g ({inputs})"
    return f"{head} => (float[2,8] y) {{ {body} }}"


def statuses(path: Path) -> dict[str, Status]:
    """How each check ended, by name."""
    return {check.name: check.status for check in Ascend().check(path, PROFILE)}


def test_a_legal_graph_passes(tmp_path: Path) -> None:
    """Every check that can run here does."""
    found = statuses(save(conv(), tmp_path / "m.onnx"))
    assert [name for name, status in found.items() if status is Status.PASSED] == [
        *("ONNX specification", "opset", "operators", "static shapes", "element types")
    ]
    assert Status.FAILED not in found.values()


@pytest.mark.parametrize(
    ("text", "check", "said"),
    [
        (graph("[n] y = Relu(x)", 19), "opset", "opset 19 is above 18"),
        (graph("[n] y = Gelu(x)", 20), "operators", "Gelu 'n': not in the table"),
        (
            graph("k = Constant<value_ints=[1]>() [n] r = ReduceL2(x, k) y = Add(x, r)", 18),
            "operators",
            "ReduceL2 'n': opset 18 not in the table",
        ),
        (
            graph(
                """s = Constant<value = float {0.1}>() z = Constant<value = int8 {0}>()
                   [q] i = QuantizeLinear(x, s, z) [d] y = DequantizeLinear(i, s, z)"""
            ),
            "operators",
            "QuantizeLinear 'q': not in the table",
        ),
        (graph("[n] y = my.domain.Own(x)"), "operators", "Own 'n': custom domain my.domain"),
        (
            graph(
                """y = If(c) <then_branch = t () => (float[2,8] a) { [in] a = my.domain.Own(x) },
                           else_branch = e () => (float[2,8] b) { b = Relu(x) }>""",
                inputs="float[2,8] x, bool c",
            ),
            "operators",
            "Own 'in': custom domain my.domain",
        ),
        (graph("y = Relu(x)", inputs="float[n,8] x"), "static shapes", "'x' has shape"),
        (
            graph("[n] y = Cast<to=1>(x)", inputs="bfloat16[2,8] x"),
            "element types",
            "'x' is BFLOAT16",
        ),
    ],
    ids=[
        *("opset", "operator", "operator-in-opset", "qdq", "custom-domain", "in-a-branch"),
        *("dynamic", "type"),
    ],
)
def test_what_atc_refuses_fails_and_is_named(
    tmp_path: Path, text: str, check: str, said: str
) -> None:
    """Each reason has its own check, whose detail names the node or tensor."""
    found = {c.name: c for c in Ascend().check(save(text, tmp_path / "m.onnx"), PROFILE)}
    assert found[check].status is Status.FAILED
    assert said in found[check].detail


def test_bytes_that_are_no_model_fail_at_the_specification(tmp_path: Path) -> None:
    """A broken file is one failed check, not an exception."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"not a model")
    assert statuses(path)["ONNX specification"] is Status.FAILED


def test_the_atc_command_spells_out_shapes_and_precisions(tmp_path: Path) -> None:
    """fp16 for what the plan lowered, the keep-list for the rest; scalars have an empty shape."""
    path = save(TWO_INPUTS, tmp_path / "m.onnx", {"mul": "fp16"})
    (command,) = Ascend().build_commands(path, PROFILE)
    assert shlex.split(command) == [
        *("atc", "--framework=5", "--model=m.onnx", "--output=m", "--soc_version=Ascend310P3"),
        *("--input_format=ND", "--input_shape=x:2,8;rate:", "--precision_mode_v2=fp16"),
        "--keep_dtype=m.keep_dtype.cfg",
    ]
    Ascend().stage(path, PROFILE, [])
    assert (tmp_path / "m.keep_dtype.cfg").read_text() == "cast\n"


def test_a_plan_that_lowers_everything_needs_no_keep_list(tmp_path: Path) -> None:
    """An empty file is not written, and not named; one of an earlier plan goes."""
    (tmp_path / "m.keep_dtype.cfg").write_text("conv\n")
    path = save(conv(), tmp_path / "m.onnx", dict.fromkeys(("conv", "relu", "pow"), "fp16"))
    (command,) = Ascend().build_commands(path, PROFILE)
    assert "keep_dtype" not in command
    assert "--input_format=NCHW" in command
    Ascend().stage(path, PROFILE, [])
    assert not (tmp_path / "m.keep_dtype.cfg").exists()


def test_int8_goes_through_amct_and_only_where_the_plan_says(tmp_path: Path) -> None:
    """AMCT calibrates first; ATC compiles what AMCT wrote."""
    path = save(conv(), tmp_path / "m.onnx", {"conv": "int8", "relu": "int8"})
    sample = {"x": np.ones((1, 3, 8, 8), np.float32)}
    Ascend().stage(path, PROFILE, [sample, sample])
    assert amct.count_samples(tmp_path) == 2
    quantise, compile_ = (shlex.split(c) for c in Ascend().build_commands(path, PROFILE))
    assert quantise[:2] == ["amct_onnx", "calibration"]
    assert {"--data_dir=calibration/0", "--batch_num=2", "--data_types=float32"} < set(quantise)
    assert "--model=m.int8_deploy_model.onnx" in compile_
    assert (tmp_path / "m.keep_dtype.cfg").read_text() == "pow\n"
    assert "skip_layers" not in (tmp_path / "m.amct.cfg").read_text()
    fp16 = {"conv": Precision.FP16}
    assert 'skip_layers : "conv"' in amct.config(ir.load(path), fp16)


def tool(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a fake `atc` on the path."""
    (folder / "bin").mkdir()
    script = folder / "bin" / "atc"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")


def test_build_runs_atc_in_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keep-list is there when ATC starts; the engine is found under ATC's longer name."""
    tool(tmp_path, monkeypatch, "cat m.keep_dtype.cfg > said; touch m_linux_x86_64.om")
    path = save(conv(), tmp_path / "m.onnx", {"conv": "fp16"})
    folder = tmp_path / "bundle"
    folder.mkdir()
    engine = Ascend().build(path, PROFILE, folder)
    assert engine.files == ("m_linux_x86_64.om", "m.io.json")
    assert engine.target == "Ascend310P3"
    assert (folder / "said").read_text() == "relu\npow\n"
    assert Signature.read(folder / "m.io.json") == Signature.of(ir.load(path))


@pytest.mark.parametrize(
    ("body", "lowered", "said"),
    [
        ("echo E10001: bad soc >&2; exit 3", {"conv": "fp16"}, "ended with 3: E10001: bad soc"),
        ("exit 0", {"conv": "fp16"}, "wrote no m.om"),
        ("touch m.om", {"conv": "int8"}, "no samples for AMCT"),
    ],
    ids=["refused", "nothing-written", "int8-without-samples"],
)
def test_a_failed_build_says_why(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    body: str,
    lowered: dict[str, str],
    said: str,
) -> None:
    """What the tool printed last is in the message."""
    tool(tmp_path, monkeypatch, body)
    path = save(conv(), tmp_path / "m.onnx", lowered)
    with pytest.raises(BackendError, match=said):
        Ascend().build(path, PROFILE, tmp_path)


def test_without_the_toolkit_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine has neither ATC nor pyACL."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "acl", None)
    path = save(conv(), tmp_path / "m.onnx")
    backend = Ascend()
    assert not backend.runs_here(PROFILE)
    assert backend.version() is None
    with pytest.raises(BackendError, match="atc") as caught:
        backend.build(path, PROFILE, tmp_path)
    assert "hwc build" in caught.value.hint
    with pytest.raises(InputError, match="no such graph"):
        backend.build_commands(tmp_path / "none.onnx", PROFILE)
    Signature.of(ir.load(path)).write(tmp_path / "m.io.json")
    with pytest.raises(BackendError, match="pyACL"):
        backend.load(tmp_path, Engine(("m.om", "m.io.json"), "CANN", "Ascend310P3"))


class FakeAcl:
    """pyACL as documented, with host memory for a device: y = 2 * x in float16."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.memory: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.sets: dict[int, list[tuple[int, int]]] = {}
        self.rt = SimpleNamespace(set_device=self._fine, malloc=self.malloc, memcpy=self.memcpy)
        self.mdl = SimpleNamespace(
            load_from_file=lambda path: (7, self._code(f"load {Path(path).name}")),
            create_desc=lambda: 9,
            get_desc=self._fine,
            create_dataset=self.create_dataset,
            add_dataset_buffer=self.add_dataset_buffer,
            execute=self.execute,
            get_num_inputs=lambda _: 1,
            get_num_outputs=lambda _: 1,
            get_input_size_by_index=lambda _, __: 64,
            get_output_size_by_index=lambda _, __: 64,  # padded by the device
            get_input_name_by_index=lambda _, __: "x",
            get_output_name_by_index=lambda _, __: "mul:0:y",
            get_output_dims=lambda _, __: ({"name": "y", "dimCount": 2, "dims": [2, 8]}, 0),
            get_output_data_type=lambda _, __: 1,
        )

    def init(self) -> int:
        """Answer that this process has called it before."""
        return 100002

    def create_data_buffer(self, address: int, size: int) -> int:
        """Stand for the buffer by its address."""
        assert len(self.memory[address]) == size
        return address

    def malloc(self, size: int, policy: int) -> tuple[int, int]:
        """Reserve memory."""
        assert policy == 0
        block = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block), self._code("malloc")

    def memcpy(self, target: int, room: int, source: int, size: int, kind: int) -> int:
        """Copy; one side must be the device's, as the direction says."""
        assert room >= size
        assert (target if kind == 1 else source) in self.memory
        ctypes.memmove(target, source, size)
        return self._code("memcpy")

    def create_dataset(self) -> int:
        """Make an empty set."""
        self.sets[len(self.sets) + 1] = []
        return len(self.sets)

    def add_dataset_buffer(self, data: int, buffer: int) -> tuple[int, int]:
        """Add one."""
        self.sets[data].append((buffer, len(self.memory[buffer])))
        return data, 0

    def execute(self, model: int, inputs: int, outputs: int) -> int:
        """Compute."""
        assert model == 7
        (source, size), (target, _) = self.sets[inputs][0], self.sets[outputs][0]
        x = np.frombuffer(ctypes.string_at(source, size), np.float32)
        y = (2 * x).astype(np.float16).tobytes()
        ctypes.memmove(target, y, len(y))
        return self._code("execute")

    def _fine(self, *_: int) -> int:
        return 0

    def _code(self, call: str) -> int:
        return 507011 if call.startswith(self.failing or "-") else 0


@pytest.fixture
def built(tmp_path: Path) -> Engine:
    """An engine as a build leaves it."""
    path = save(graph("[mul] y = Add(x, x)"), tmp_path / "m.onnx")
    Signature.of(ir.load(path)).write(tmp_path / "m.io.json")
    return Engine(("m.om", "m.io.json"), "CANN 8.0", "Ascend310P3")


def test_an_engine_runs_and_gives_the_graphs_names_and_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: Engine
) -> None:
    """fp16 comes back as the float32 of the graph, under the graph's name."""
    monkeypatch.setitem(sys.modules, "acl", FakeAcl())
    run = Ascend().load(tmp_path, built)
    x = np.arange(16, dtype=np.float32).reshape(2, 8)
    for _ in range(2):
        (name, y), *rest = run({"x": x.T.copy().T}).items()
        assert (name, y.dtype, rest) == ("y", np.float32, [])
        np.testing.assert_array_equal(y, 2 * x)
        x = x + 1
    with pytest.raises(BackendError, match="32 bytes, not 64"):
        run({"x": x[:1]})


@pytest.mark.parametrize("call", ["load", "malloc", "memcpy", "execute"])
def test_every_error_code_of_pyacl_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, built: Engine, call: str
) -> None:
    """No call fails in silence."""
    monkeypatch.setitem(sys.modules, "acl", FakeAcl(call))
    with pytest.raises(BackendError, match=f"{call}.* failed with 507011"):
        Ascend().load(tmp_path, built)({"x": np.zeros((2, 8), np.float32)})
