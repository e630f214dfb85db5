"""From `--storage` to a packed bundle that runs, verifies, shows and times as any other."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import Result
from hwc.backends import ort_tune
from hwc.toolchain.bundle import MODEL, PACKED, Bundle
from hwc.toolchain.errors import ConstraintError, IntegrityError, UsageError
from hwc.tools.request import Method, Request
from hwc.tools.stages import gate, price, search
from onnx import TensorProto, helper, numpy_helper

NARROW = "0.02"  # MB: the fp32 weights are 74 kB, those of int8 a quarter of that
Call = Callable[..., Result]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small network and its data, where nothing takes long."""
    generator = np.random.default_rng(0)
    shapes = {"a": (32, 3, 3, 3), "b": (64, 32, 3, 3)}
    weights = [
        numpy_helper.from_array(
            (generator.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))).astype(np.float32),
            name,
        )
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Conv", ["r", "b"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64, 8, 8])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "net.onnx")
    x = generator.standard_normal((48, 3, 12, 12)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x)
    np.savez(tmp_path / "one.npz", x=x[:1])
    monkeypatch.setattr(gate, "_CPU", replace(gate._CPU, seconds=0.2, min_runs=4))  # noqa: SLF001
    monkeypatch.setattr(gate, "_WALL", replace(gate._WALL, seconds=0.2, min_runs=4))  # noqa: SLF001
    monkeypatch.setattr(price, "RUNS", 4)
    monkeypatch.setattr(ort_tune, "SECONDS", 0.0)
    monkeypatch.setattr(ort_tune, "RUNS", 0)
    monkeypatch.setattr(search, "STALE", math.inf)
    monkeypatch.setattr(gate.Gate, "_timed", lambda *_: False)  # speed is no matter here
    return tmp_path


def compiled(shop: Path, call: Call, *options: str) -> Path:
    """A bundle that was compiled with these options."""
    out = shop / "out.hwc"
    given = ("--data", shop / "data.npz", "--table", shop / "table.sqlite", "-o", out)
    result = call("compile", shop / "net.onnx", *given, "--max-drop", "90%", *options)
    assert result.exception is None, result.exception
    return out


def test_a_packed_bundle_does_all_that_a_bundle_does(shop: Path, call: Call) -> None:
    out = compiled(shop, call, "--storage", "int4", "--max-size", NARROW)
    assert (out / PACKED).exists()
    assert not (out / MODEL).exists()
    size = (out / PACKED).stat().st_size
    assert size <= float(NARROW) * 1e6
    with Bundle.open(out) as bundle:
        assert bundle.report().compiled.size == size
        assert any(choice.storage == "int4" for _, choice in bundle.plan().choices)
        model = bundle.model.read_bytes()
        onnx.checker.check_model(onnx.load_from_string(model))
    with Bundle.open(out) as bundle:
        assert bundle.model.read_bytes() == model
    assert not bundle.folder.exists()
    for command in (
        ("show", out),
        ("verify", out),
        ("run", out, "--input", shop / "one.npz", "-o", shop / "y.npz"),
        ("bench", out, "--runs", "4"),
        ("build", out, "-o", shop / "again.hwc"),
    ):
        result = call(*command)
        assert result.exception is None, (command, result.output, result.exception)
    assert (shop / "again.hwc" / PACKED).read_bytes() == (out / PACKED).read_bytes()
    assert not (shop / "again.hwc" / MODEL).exists()


def zeros(model: bytes) -> float:
    """The share of zeros in the large weights of a model, integers or not."""
    weights = (numpy_helper.to_array(w) for w in onnx.load_from_string(model).graph.initializer)
    large = [array for array in weights if array.size > 500]
    return sum(np.count_nonzero(array == 0) for array in large) / sum(a.size for a in large)


@pytest.mark.parametrize("form", ["lsq3~60", "lsq3~60x4"])
def test_zeros_make_the_file_smaller(form: str, shop: Path, call: Call) -> None:
    """Where size counts they are chosen; the bundle holds them, and runs."""
    asked = ("--objective", "size", "--precision", "fp32,int8")
    with Bundle.open(compiled(shop, call, *asked, "--storage", "lsq3")) as bundle:
        dense, rounded = bundle.report().compiled.size, zeros(bundle.model.read_bytes())
    out = compiled(shop, call, *asked, "--storage", f"lsq3,{form}", "--force")
    with Bundle.open(out) as bundle:
        assert {choice.storage for _, choice in bundle.plan().choices if choice.storage} == {form}
        assert zeros(bundle.model.read_bytes()) >= max(0.59, rounded + 0.2)
        assert bundle.report().compiled.size < 0.9 * dense
    result = call("verify", out)
    assert result.exception is None, result.output


def test_zeros_are_not_taken_where_the_drop_counts(shop: Path, call: Call) -> None:
    """Without a limit that needs them, the format that loses less is chosen."""
    asked = ("--objective", "drop", "--max-size", NARROW, "--precision", "fp32")
    out = compiled(shop, call, *asked, "--storage", "int6,int6~60")
    with Bundle.open(out) as bundle:
        assert {choice.storage for _, choice in bundle.plan().choices} - {""} == {"int6"}


@pytest.mark.parametrize(
    ("methods", "zeros"),
    [("storage", False), ("sparsity", False), ("precision,sparsity,storage", True)],
)
def test_sparsity_beside_storage_offers_zeros(methods: str, *, zeros: bool) -> None:
    formats = Request("m.onnx", methods=tuple(map(Method, methods.split(",")))).formats
    assert any(form.zeros for form in formats) == zeros


def test_a_zip_is_packed_too(shop: Path, call: Call) -> None:
    out = compiled(shop, call, "--storage", "codebook3,lsq3", "--max-size", NARROW, "--zip")
    with Bundle.open(out) as bundle:
        assert bundle.model.exists()
        assert (bundle.folder / PACKED).exists()


def test_without_storage_the_graph_is_as_it_was(shop: Path, call: Call) -> None:
    out = compiled(shop, call)
    assert (out / MODEL).exists()
    assert not (out / PACKED).exists()


def test_a_limit_alone_packs_without_loss(shop: Path, call: Call) -> None:
    out = compiled(shop, call, "--max-size", "0.0772", "--precision", "fp32")
    with Bundle.open(out) as bundle:
        assert bundle.report().compiled.size <= 77_200
        assert not any(choice.storage for _, choice in bundle.plan().choices)


def test_a_limit_that_nothing_keeps_is_said(shop: Path, call: Call) -> None:
    given = ("--data", shop / "data.npz", "--table", shop / "table.sqlite", "-o", shop / "o.hwc")
    options = ("--storage", "int4", "--max-size", "0.001")
    result = call("compile", shop / "net.onnx", *given, *options)
    assert isinstance(result.exception, ConstraintError)
    assert not (shop / "o.hwc").exists()


@pytest.mark.parametrize("at", [0, 9, 300, -1])
def test_a_tampered_file_is_refused(shop: Path, call: Call, at: int) -> None:
    out = compiled(shop, call, "--storage", "int4", "--max-size", NARROW)
    data = bytearray((out / PACKED).read_bytes())
    data[at] ^= 1
    (out / PACKED).write_bytes(data)
    with pytest.raises(IntegrityError, match="size and digest"):
        Bundle.open(out)
    shutil.rmtree(out)


def test_a_format_that_does_not_exist_teaches_those_that_do(shop: Path, call: Call) -> None:
    result = call("compile", shop / "net.onnx", "--storage", "int4,uint3")
    assert isinstance(result.exception, UsageError)
    assert "'uint3'" in str(result.exception)
    assert "codebook4" in str(result.exception)
