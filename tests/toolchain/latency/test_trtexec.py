"""What trtexec exports, as input that may come from anywhere; the fixtures are hand-written."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.latency import trt_inspector, trtexec
from hwc.toolchain.latency.timing import LONGEST_US
from hwc.toolchain.latency.trt_inspector import Kind, Layer, parse_layers
from hwc.toolchain.latency.trtexec import EngineTimes, match_layers, parse_profile, read_trtexec
from hwc.toolchain.plan import Precision
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIXTURES = Path(__file__).parent / "fixtures" / "trtexec"
FP32, FP16, INT8 = Precision.FP32, Precision.FP16, Precision.INT8

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a text to a new file."""

    def run(text: str) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        path.write_bytes(text.encode())
        return path

    return run


def read(layers: str, profile: str, precision: Precision | None = None) -> EngineTimes:
    """Read two of the fixtures."""
    return read_trtexec(
        FIXTURES / f"{layers}-layers.json", FIXTURES / f"{profile}-profile.json", precision
    )


PAIRS = {
    "8.6": ("8.6", "8.6", None, 140.0, 512),
    "8.6, names only": ("8.6-names", "8.6", FP16, 140.0, 512),
    "8.4, without a median": ("8.6-names", "8.4", FP16, 140.0, 512),
    "10": ("10", "10", None, 79.75, 1024),
    "11": ("11", "11", None, 101.25, 2048),
    "11, names only": ("11-names", "11-names", FP16, 98.0, 100),
}


@pytest.mark.parametrize(
    ("layers", "profile", "precision", "us", "runs"), PAIRS.values(), ids=PAIRS
)
def test_reads_every_form(
    layers: str, profile: str, precision: Precision | None, us: float, runs: int
) -> None:
    engine = read(layers, profile, precision)
    assert sum(timed.us.median for timed in engine.layers) == pytest.approx(us)
    assert (engine.runs, engine.precision, engine.total_us) == (runs, precision, None)
    assert all(t.us.p10 == t.us.median == t.us.p90 for t in engine.layers)


def test_a_layer_in_detail() -> None:
    convert, conv, *_ = (timed.layer for timed in read("8.6", "8.6").layers)
    assert convert.kind is Kind.REFORMAT
    assert [t.precision for t in (*convert.inputs, *convert.outputs)] == [FP32, FP16]
    assert conv.kind is Kind.KERNEL
    assert conv.nodes == {"/conv1/Conv", "/relu1/Relu"}
    assert conv.outputs == (trt_inspector.Tensor("r", FP16),)


def test_entries_of_10_are_parted_by_another_character() -> None:
    layer = read("10", "10").layers[1].layer
    assert {"/conv1/Conv", "/relu1/Relu", "r__q"} < layer.nodes


def test_layers_of_one_name_are_timed_in_turn() -> None:
    twins = [t for t in read("11", "11").layers if t.layer.name == "__myl_Fused"]
    assert [(t.layer.outputs[0].name, t.us.median) for t in twins] == [
        ("m", pytest.approx(6.5)),
        ("p", pytest.approx(4.25)),
    ]


def test_the_last_of_one_name_takes_what_is_left() -> None:
    layers = [Layer("body", Kind.KERNEL, frozenset({n})) for n in "ab"]
    found = match_layers(layers, ["body"] * 3, "here")
    assert [min(layer.nodes) for layer in found] == ["a", "b", "b"]


METADATA = {
    "none": ("", set()),
    "not of ONNX": ("[CONVOLUTION]-[aten_ops.convolution.default]-[/0/convolution]", set()),
    "one": ("[ONNX Layer: a]", {"a"}),
    "8.6": ("[ONNX Layer: a]\x1e[ONNX Layer: b]", {"a", "b"}),
    "10": ("[ONNX Layer: a]\x1f[ONNX Layer: b]", {"a", "b"}),
    "quoted without the character": ("[ONNX Layer: a][ONNX Layer: b]", {"a", "b"}),
    "a node in a function": ("[ONNX Layer: a | call (Block)]", {"a"}),
    "odd characters": ('[ONNX Layer: my (odd) + n"a]\\me]', {'my (odd) + n"a]\\me'}),
}


@pytest.mark.parametrize(("metadata", "nodes"), METADATA.values(), ids=METADATA)
def test_metadata_names_nodes(metadata: str, nodes: set[str]) -> None:
    body = {"Layers": [{"Name": "x", "LayerType": "kgen", "Metadata": metadata}]}
    (layer,) = parse_layers(json.dumps(body), "f")
    assert layer.nodes == nodes


TYPES = {
    "Row major linear FP32": FP32,
    "Row major linear FP32 format (kLINEAR)": FP32,
    "Channel major FP16 format where channel % 8 == 0": FP16,
    "Thirty-two wide channel vectorized row major Int8 format": INT8,
    "Row major linear BFloat16 format": Precision.BF16,
    "Half": FP16,
    "BFloat16": Precision.BF16,
    "Int4": Precision.INT4,
    "Row major linear UInt8 format": None,
    "Row major linear INT32": None,
    "Int64": None,
    "Bool": None,
    "N/A due to dynamic shapes": None,
}


@pytest.mark.parametrize("key", ["Format/Datatype", "Datatype", "DataType"])
@pytest.mark.parametrize(("text", "precision"), TYPES.items(), ids=TYPES)
def test_types_in_all_spellings(key: str, text: str, precision: Precision | None) -> None:
    body = {"Layers": [{"Name": "x", "Inputs": [{"Name": "t", key: text}]}]}
    (layer,) = parse_layers(json.dumps(body), "f")
    assert layer.inputs[0].precision is precision


def test_control_characters_in_names_as_trtexec_writes_them() -> None:
    text = '[ {"count" : 2}, {"name" : "a\x1fb", "timeMs" : 2, "averageMs" : 1} ]'
    assert parse_profile(text, "f").rows == (("a\x1fb", 1000.0),)


def test_a_byte_order_mark_is_no_harm(write: Write) -> None:
    layers = write('﻿{"Layers": ["a"]}')
    profile = write('﻿[{"count": 1}, {"name": "a", "averageMs": 2}]')
    assert read_trtexec(layers, profile, FP32).layers[0].us.median == 2000.0


def rows(*times: object, count: object = 3) -> str:
    """A profile with layers a, b, ... that take these times."""
    named = [{"name": chr(97 + i), "averageMs": ms} for i, ms in enumerate(times)]
    return json.dumps([{"count": count}, *named])


BAD_PROFILES = {
    "nothing": ("", "is not JSON"),
    "broken by a quote in a name": ('[{"count": 1}, {"name": "a"b"}]', "is not JSON"),
    "no list": ("{}", "is not a list of objects"),
    "the layers instead": ('{"Layers": ["a"]}', "is not a list of objects"),
    "no count": ('[{"name": "a", "averageMs": 1}]', "is not a count of runs and rows"),
    "two counts": ('[{"count": 1}, {"count": 1}]', "is not a count of runs and rows"),
    "a stranger": ('[{"count": 1}, {"latencyMs": 1}]', "is not a count of runs and rows"),
    "no run": (rows(1, count=0), "counts 0 runs"),
    "half a run": (rows(1, count=0.5), "counts 0.5 runs"),
    "a true count": (rows(1, count=True), "counts True runs"),
    "too many runs": (rows(1, count=10**12), "counts 1000000000000 runs"),
    "only a count": (rows(), "holds no time"),
    "no time at all": (rows(0, 0), "holds no time"),
    "negative": (rows(1, -0.5), "'b' takes -0.5 ms"),
    "not a number": ('[{"count": 1}, {"name": "a", "averageMs": NaN}]', "NaN is not a number"),
    "infinite": ('[{"count": 1}, {"name": "a", "averageMs": Infinity}]', "is not JSON"),
    "infinite by overflow": ('[{"count": 1}, {"name": "a", "averageMs": 1e999}]', "takes inf ms"),
    "a year": (rows(3.2e10), "'a' takes 32000000000.0 ms"),
    "text for a time": (rows("1"), "'a' takes '1' ms"),
    "true for a time": (rows(*[True]), "'a' takes True ms"),
    "no time for a layer": ('[{"count": 1}, {"name": "a"}]', "'a' takes None ms"),
    "a number for a name": ('[{"count": 1}, {"name": 3, "averageMs": 1}]', "a row has no name"),
    "an empty name": ('[{"count": 1}, {"name": "", "averageMs": 1}]', "a row has no name"),
    "a long name": (
        json.dumps([{"count": 1}, {"name": "a" * 70_000, "averageMs": 1}]),
        "a row has no name of 1 to 65536",
    ),
    "nested deep": ("[" * 100_000, "nests too deep"),
    "digits without end": (f'[{{"count": {"9" * 5000}}}]', "is not JSON"),
}


@pytest.mark.parametrize(("text", "reason"), BAD_PROFILES.values(), ids=BAD_PROFILES)
def test_refuses_a_bad_profile(write: Write, text: str, reason: str) -> None:
    path = write(text)
    with pytest.raises(InputError, match=reason) as refusal:
        read_trtexec(write('{"Layers": ["a", "b"]}'), path, FP32)
    assert str(path) in refusal.value.message
    assert len(refusal.value.message) < 400
    assert refusal.value.hint


def tensor(**fields: object) -> str:
    """Layers of which one reads one tensor."""
    return json.dumps({"Layers": [{"Name": "a", "Inputs": [{"Name": "t", **fields}]}]})


BAD_LAYERS = {
    "not JSON": ("Layers:", "is not JSON"),
    "the profile instead": ('[{"count": 1}]', "has no list of 'Layers'"),
    "no layers": ('{"Layers": []}', "has no list of 'Layers'"),
    "verbosity none": ('{"Layers": {}}', "has no list of 'Layers'"),
    "a number for a layer": ('{"Layers": [1]}', "layer 0 is neither a name nor an object"),
    "a layer without a name": ('{"Layers": ["a", {}]}', "layer 1 has no name"),
    "an empty name": ('{"Layers": [""]}', "layer 0 has no name"),
    "metadata of another kind": (
        '{"Layers": [{"Name": "a", "Metadata": []}]}',
        "'Metadata' and 'LayerType' must be texts",
    ),
    "tensors of another kind": (
        '{"Layers": [{"Name": "a", "Inputs": {"Name": "t"}}]}',
        "'Inputs' is not a list",
    ),
    "a tensor of another kind": (
        '{"Layers": [{"Name": "a", "Outputs": ["t"]}]}',
        "'Outputs' holds what is no object",
    ),
    "too many tensors": (
        json.dumps({"Layers": [{"Name": "a", "Inputs": [{"Name": "t"}] * 5000}]}),
        "'Inputs' is not a list of at most 4096",
    ),
    "too many layers": (json.dumps({"Layers": ["a"] * 100_001}), "more than 100000 layers"),
    "a type that hwc has no choice for": (
        tensor(**{"Format/Datatype": "Row major linear FP8 format"}),
        "a tensor of FP8",
    ),
}


@pytest.mark.parametrize(("text", "reason"), BAD_LAYERS.values(), ids=BAD_LAYERS)
def test_refuses_bad_layers(write: Write, text: str, reason: str) -> None:
    path = write(text)
    with pytest.raises(InputError, match=reason) as refusal:
        read_trtexec(path, write(rows(1)), FP32)
    assert str(path) in refusal.value.message
    assert len(refusal.value.message) < 400
    assert refusal.value.hint


def test_refuses_files_of_two_engines_and_says_which_names() -> None:
    with pytest.raises(InputError, match="are of two engines") as refusal:
        read("8.6", "11", None)
    message = refusal.value.message
    assert "8 of 8 timed layers" in message
    assert "'__myl_Cast_myl0_0'" in message
    assert "8.6-layers.json" in message
    assert "11-profile.json" in message
    assert "one run" in refusal.value.hint


def test_names_only_needs_a_precision() -> None:
    with pytest.raises(InputError, match="does not say what its layers compute in") as refusal:
        read("8.6-names", "8.6")
    assert "--precision" in refusal.value.hint


def test_refuses_what_is_no_file(tmp_path: Path, write: Write) -> None:
    profile = write(rows(1))
    with pytest.raises(InputError, match="does not exist"):
        read_trtexec(tmp_path / "none.json", profile)
    with pytest.raises(InputError, match="is not a file"):
        read_trtexec(tmp_path, profile)


def test_refuses_what_is_no_text(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "layers.json"
    path.write_bytes(b'{"Layers": ["\xff"]}')
    with pytest.raises(InputError, match="is not UTF-8"):
        read_trtexec(path, write(rows(1)))


@pytest.mark.parametrize("limit", ["MAX_LAYERS_BYTES", "MAX_PROFILE_BYTES"])
def test_refuses_large_files(write: Write, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(trtexec, limit, 10)
    with pytest.raises(InputError, match="is larger than"):
        read_trtexec(write('{"Layers": ["a"]}'), write(rows(1)), FP32)


@given(
    which=st.sampled_from(["layers", "profile"]),
    at=st.integers(0, 6000),
    put=st.binary(min_size=1, max_size=3),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_bytes_are_read_or_refused(tmp_path: Path, which: str, at: int, put: bytes) -> None:
    """Nothing but an InputError comes out of what is broken somewhere."""
    files = {}
    for kind in ("layers", "profile"):
        data = (FIXTURES / f"10-{kind}.json").read_bytes()
        if kind == which:
            data = data[:at] + put + data[at + len(put) :]
        files[kind] = tmp_path / f"{kind}.json"
        files[kind].write_bytes(data)
    with contextlib.suppress(InputError):
        engine = read_trtexec(files["layers"], files["profile"])
        assert all(0 <= timed.us.median <= LONGEST_US for timed in engine.layers)
