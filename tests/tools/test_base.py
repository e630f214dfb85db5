"""`hwc compile --base`: a model with other weights in the scales of an earlier bundle."""

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from click.testing import Result
from hwc.backends import ort_tune
from hwc.toolchain.bundle import Bundle
from hwc.toolchain.engine import Array
from hwc.toolchain.errors import ConstraintError, HwcError, InputError, UsageError
from hwc.toolchain.plan import Precision
from hwc.toolchain.report import Report, StructureRow
from hwc.tools.compiling import compile_model
from hwc.tools.request import Request
from hwc.tools.stages import gate, price, search
from onnx import numpy_helper

NET = """<ir_version: 10, opset_import: ["" : 21]>
g (float[N,3,16,16] x) => (float[N,8] y)
<float[32,3,3,3] w1, float[32] b1, float[64,32,3,3] w2, float[64,8] w3, int64[2] flat = {0, -1}> {
  [conv1] c1 = Conv <pads = [1,1,1,1]> (x, w1, b1)
  [relu1] r1 = Relu (c1)
  [conv2] c2 = Conv <pads = [1,1,1,1]> (r1, w2)
  [relu2] r2 = Relu (c2)
  [pool] p = GlobalAveragePool (r2)
  [reshape] f = Reshape (p, flat)
  [gemm] y = Gemm (f, w3)
}"""
PLAIN = ("--max-drop", "60%", "--precision", "fp32,int8")
KINDS = {
    "packed": ("--max-drop", "90%", "--storage", "int4", "--max-size", "0.02"),
    "zeros": ("--max-drop", "90%", "--storage", "int5~10x4", "--max-size", "0.02"),
    "zip": (*PLAIN, "--zip"),
}
Call = Callable[..., Result]
Change = Callable[[Array], Array]


def changed(model: onnx.ModelProto, change: Change, only: str = "w") -> onnx.ModelProto:
    """The same graph with other weights."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name.startswith(only) and tensor.data_type == onnx.TensorProto.FLOAT:
            array = change(numpy_helper.to_array(tensor)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return copy


def nearly(array: Array) -> Array:
    """A weight as a little training leaves it."""
    result: Array = array * (1 + 0.001 * np.random.default_rng(1).standard_normal(array.shape))
    return result


def constants(bundle: Path) -> dict[str, Array]:
    """The constants of a bundle's graph."""
    with Bundle.open(bundle) as opened:
        graph = ir.load(opened.model).graph
        return {n: np.array(v.const_value.numpy()) for n, v in graph.initializers.items()}


def report_of(bundle: Path) -> Report:
    """What a bundle's compilation found out."""
    with Bundle.open(bundle) as opened:
        return opened.report()


@dataclass(frozen=True)
class Shop:
    """A folder with a network, its data, a table that covers it, and the command.

    Attributes:
        folder: Where they are; `old.hwc` is the network in int8.
        call: Calls `hwc`.
    """

    folder: Path
    call: Call

    @property
    def old(self) -> Path:
        """The network in int8."""
        return self.folder / "old.hwc"

    @property
    def net(self) -> onnx.ModelProto:
        """The network."""
        return onnx.load(self.folder / "old.onnx")

    def attempt(self, *options: object, model: onnx.ModelProto | None = None) -> Result:
        """Compile a model, or the network itself, with its data."""
        onnx.save(model or self.net, self.folder / "new.onnx")
        here = "--device" not in options
        paths = ("--table", self.folder / "table.sqlite") if here else ()
        asked = ("--data", self.folder / "data.npz", *paths, "--force", "-q", *options)
        return self.call("compile", self.folder / "new.onnx", *asked)

    def compile(self, name: str, *options: object, model: onnx.ModelProto | None = None) -> Path:
        """Compile what can be compiled."""
        out = self.folder / name
        result = self.attempt("-o", out, *options, model=model)
        assert result.exception is None, result.exception
        return out

    def refused(self, *options: object, model: onnx.ModelProto | None = None) -> HwcError:
        """Compile what cannot be compiled; nothing is left of it."""
        out = self.folder / "none.hwc"
        error = self.attempt("-o", out, *options, model=model).exception
        assert isinstance(error, HwcError), error
        assert not out.exists()
        return error


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    """Nothing takes long, and speed is no matter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(price, "RUNS", 4)
        patch.setattr(search, "STALE", math.inf)
        patch.setattr(ort_tune, "SECONDS", 0.0)
        patch.setattr(ort_tune, "RUNS", 0)
        patch.setattr(gate, "_CPU", replace(gate._CPU, seconds=0.1, min_runs=4))  # noqa: SLF001
        patch.setattr(gate, "_WALL", replace(gate._WALL, seconds=0.1, min_runs=4))  # noqa: SLF001
        patch.setattr(gate.Gate, "_timed", lambda *_: False)
        yield


@pytest.fixture(scope="module")
def stock(
    tmp_path_factory: pytest.TempPathFactory, parse_graph: Callable[[str], onnx.ModelProto]
) -> Path:
    """The network, its data, its bundle, and a latency table that covers it."""
    folder = tmp_path_factory.mktemp("stock")
    onnx.save(parse_graph(NET), folder / "old.onnx")
    x = np.random.default_rng(0).standard_normal((48, 3, 16, 16)).astype(np.float32)
    np.savez(folder / "data.npz", x=x)
    request = Request(
        str(folder / "old.onnx"),
        folder / "old.hwc",
        data=str(folder / "data.npz"),
        max_drop=0.6,
        precisions=(Precision.FP32, Precision.INT8),
        table=folder / "table.sqlite",
    )
    compile_model(request).close()
    return folder


@pytest.fixture
def shop(tmp_path: Path, call: Call, stock: Path) -> Shop:
    shutil.copytree(stock, tmp_path, dirs_exist_ok=True)
    return Shop(tmp_path, call)


@pytest.mark.parametrize("kind", ["plain", *KINDS])
def test_only_what_really_changed_is_other(kind: str, shop: Shop) -> None:
    options = KINDS.get(kind, ())
    old = shop.compile("other.hwc", *options) if options else shop.old
    model = changed(shop.net, nearly, "w2")
    drop = ("--max-drop", "90%")
    new = shop.compile("new.hwc", "--base", old, *drop, model=model)
    before, after = constants(old), constants(new)
    assert before.keys() == after.keys()
    differing = {name for name in before if not np.array_equal(before[name], after[name])}
    assert differing == {"conv2__q8"}
    share = np.mean(before["conv2__q8"] != after["conv2__q8"])
    assert 0 < share < 0.1
    with Bundle.open(old) as first, Bundle.open(new) as second:
        assert first.plan() == second.plan()
        assert (first.manifest.engine is None) == (second.manifest.engine is None)
    report = report_of(new)
    assert report.search is None
    assert {row.why for row in report.slots} == {f"as in {old}"}
    assert report.attempts[0].decision.accepted


def test_what_the_report_says(shop: Shop) -> None:
    old = shop.old

    def larger(array: Array) -> Array:
        array = array.copy()
        most = np.abs(array[0]).max()
        array[0].reshape(-1)[:2] = 1.1 * most, -1.1 * most
        return array

    model = changed(shop.net, larger, "w2")
    new = shop.compile("new.hwc", "--base", old, "--max-drop", "99%", model=model)
    held = {name: a for name, a in constants(new).items() if name.endswith("__q8") and a.ndim > 1}
    total = sum(array.size for array in held.values())
    assert held["conv2__q8"].reshape(-1)[:2].tolist() == [127, -128]
    notes = "\n".join(report_of(new).notes)
    assert f"the plan and scales of {old} were taken: nothing was searched or calibrated" in notes
    assert f"2 of {total} weights of few bits" in notes
    assert "2 weights are beyond the scales, and were clipped" in notes
    assert f"agreement (1 - FVU) with {old}: " in notes


def test_equal_weights_agree_in_all_samples(shop: Shop) -> None:
    old = shop.old
    new = shop.compile("new.hwc", "--base", old, "--max-drop", "60%")
    assert (old / "model.onnx").read_bytes() == (new / "model.onnx").read_bytes()
    (note,) = (note for note in report_of(new).notes if note.startswith("agreement (1 - FVU)"))
    assert f"with {old}: 100.00%" in note


def test_a_bundle_on_a_base_is_a_base(shop: Shop) -> None:
    old = shop.old
    asked = ("--max-drop", "60%")
    model = changed(shop.net, nearly)
    second = shop.compile("second.hwc", "--base", old, *asked, model=model)
    third = shop.compile("third.hwc", "--base", second, *asked, model=shop.net)
    assert (old / "model.onnx").read_bytes() == (third / "model.onnx").read_bytes()


def test_for_a_device_that_is_elsewhere(shop: Shop) -> None:
    device = ("--device", "jetson_orin", "--max-drop", "99%")
    old = shop.compile("orin.hwc", *device, "--precision", "int8")
    model = changed(shop.net, nearly, "w2")
    new = shop.compile("new.hwc", "--base", old, *device, model=model)
    before, after = constants(old), constants(new)
    assert {n for n in before if not np.array_equal(before[n], after[n])} == {"conv2__q8"}
    assert any(note.startswith(f"agreement with {old}: owed") for note in report_of(new).notes)
    error = shop.refused("--base", old, "--max-drop", "99%")
    assert isinstance(error, UsageError)
    assert error.message == f"{old}: was compiled for jetson_agx_orin, not host"
    assert error.hint.startswith("give --device jetson_agx_orin")
    assert error.hint.endswith(", or compile without --base")


def test_scales_that_do_not_fit_fail_the_gate(shop: Shop) -> None:
    old = shop.old
    error = shop.refused("--base", old, model=changed(shop.net, lambda array: -40 * array, "w2"))
    assert isinstance(error, ConstraintError)
    assert error.message.startswith(f"the plan and scales of {old} do not pass the gate: drop ")
    assert error.message.endswith("weights are beyond the scales)")
    assert error.hint == "compile without --base"


@pytest.mark.parametrize(
    ("edit", "difference"),
    [
        (("[64,32,3,3]", "[64,32,1,1]"), "constant 'conv2__q8' is INT8 [64, 32, 1, 1], and was"),
        (("[relu1] r1 = Relu", "[relu1] r1 = Neg"), "node 'relu1' (Neg) is no kernel there"),
        (("[conv2]", "[other]"), "node 'other' (Conv) is no kernel there"),
        (
            ("[pool] p = GlobalAverage", "[pool] p = GlobalMax"),
            "node 'pool' (GlobalMaxPool) cannot run in int8",
        ),
    ],
    ids=["kernel size", "activation", "name", "operator"],
)
def test_another_graph(
    edit: tuple[str, str], difference: str, shop: Shop, parse_graph: Call
) -> None:
    old = shop.old
    error = shop.refused("--base", old, model=parse_graph(NET.replace(*edit)))
    assert isinstance(error, InputError)
    where = f"{shop.folder / 'new.onnx'} is not the graph of {old}: "
    assert error.message.startswith(where)
    assert difference in error.message


def test_a_tensor_that_was_never_integers(shop: Shop, parse_graph: Call) -> None:
    text = NET.replace("[relu2] r2 = Relu (c2)", "").replace("(r2)", "(c2)")
    error = shop.refused("--base", shop.old, model=parse_graph(text))
    assert isinstance(error, InputError)
    assert error.message.endswith(
        f"does not fit {shop.old}: 'c2' is to be integers, but is none in the base"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--methods", "precision,prune"), "--methods is given, but --base takes a plan as it is"),
        (("--precision", "int8"), "--precision is given, but --base takes a plan as it is"),
        (("--storage", "int4"), "--storage is given, but --base takes a plan as it is"),
        (("--recover", "fast"), "--recover is given, but --base takes a plan as it is"),
        (("--strategy", "exact"), "--strategy is given, but --base takes a plan as it is"),
        (("--objective", "size"), "--objective is given, but --base takes a plan as it is"),
        (("--objective", "size=1,drop=1"), "--objective is given, but --base takes a plan as it"),
        (("--data", ""), "--base needs data to judge what its scales make of new weights"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_does_not_go_with_a_base(options: tuple[str, ...], message: str, shop: Shop) -> None:
    error = shop.refused("--base", "old.hwc", *options)
    assert isinstance(error, UsageError)
    assert error.message.startswith(message)


def test_without_data_only_on_demand(shop: Shop) -> None:
    old = shop.old
    asked = ("--base", old, "--data", "", "--allow-random-calibration", "--max-drop", "99%")
    notes = report_of(shop.compile("new.hwc", *asked)).notes
    assert "agreement was measured on random inputs" in notes


def test_a_bundle_that_fixes_nothing(shop: Shop) -> None:
    old = shop.compile("fp32.hwc", "--precision", "fp32")
    error = shop.refused("--base", old)
    assert isinstance(error, UsageError)
    assert error.message == f"{old}: has no scales or codebooks to keep"


def test_no_bundle(shop: Shop) -> None:
    assert isinstance(shop.refused("--base", shop.folder / "nothing.hwc"), InputError)


def test_a_pruned_bundle_is_no_base(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    old = shop.old
    real = Bundle.report
    monkeypatch.setattr(
        Bundle, "report", lambda self: replace(real(self), structure=(StructureRow("conv2", 0.5),))
    )
    error = shop.refused("--base", old)
    assert error.message.endswith("its weights were chosen, too, by pruning, factors or sparsity")
