"""PyTorch modules and `.pt2` programs become the same kind of graph as an ONNX file."""

import io
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.frontend.load import load_model
from hwc.toolchain.frontend.shapes import model_inputs
from hwc.toolchain.frontend.torch_module import quiet

pytest.importorskip("torch")

SOURCE = """
import warnings
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
    def forward(self, image):
        warnings.warn("noise")
        return torch.relu(self.conv(image))

class Embed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(10, 4)
    def forward(self, ids, scale):
        return self.table(ids) * scale

def build():
    print("noise")
    torch.manual_seed(0)
    return Net()

def embed():
    return Embed(), (torch.zeros(1, 5, dtype=torch.int64), torch.ones(4))

def embed_bare():
    return Embed()

def fails():
    raise ValueError("no weights here")

def number():
    return 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch")
    (folder / "user_nets.py").write_text(SOURCE)
    return folder


@pytest.fixture(autouse=True)
def _in_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def run(model: ir.Model, feeds: dict[str, np.ndarray]) -> np.ndarray:
    data = ir.to_proto(model).SerializeToString()
    result: np.ndarray = ort.InferenceSession(data).run(None, feeds)[0]
    return result


def test_a_factory_is_exported_without_noise(capfd: pytest.CaptureFixture[str]) -> None:
    model = load_model("user_nets:build", inputs={"": (1, 3, 8, 8)})
    assert capfd.readouterr() == ("", "")
    (spec,) = model_inputs(model)
    assert (spec.name, spec.dtype, spec.shape) == ("image", "float32", (1, 3, 8, 8))
    assert all(isinstance(v.const_value, ir.Tensor) for v in model.graph.initializers.values())
    torch = sys.modules["torch"]
    image = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    with quiet():
        expected = sys.modules["user_nets"].build()(torch.from_numpy(image)).detach().numpy()
    np.testing.assert_allclose(run(model, {"image": image}), expected, rtol=1e-5, atol=1e-6)


def test_a_factory_may_bring_its_own_inputs() -> None:
    model = load_model("user_nets:embed")
    assert [(s.name, s.dtype, s.shape) for s in model_inputs(model)] == [
        ("ids", "int64", (1, 5)),
        ("scale", "float32", (4,)),
    ]


def test_a_pt2_program_is_exported() -> None:
    torch = sys.modules["torch"]
    load_model("user_nets:build", inputs={"image": (1, 3, 8, 8)})  # imports the module
    with quiet():
        net = sys.modules["user_nets"].build()
        torch.export.save(torch.export.export(net, (torch.zeros(1, 3, 8, 8),)), "net.pt2")
    model = load_model("net.pt2")
    assert model_inputs(model)[0].shape == (1, 3, 8, 8)
    assert "Conv" in [node.op_type for node in model.graph]


class _Bomb:
    """Leaves a file behind where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("unpickled",))


def test_attack_a_pickle_in_the_place_of_example_inputs(folder: Path) -> None:
    torch = sys.modules["torch"]
    with quiet():
        program = torch.export.export(torch.nn.ReLU(), (torch.zeros(2),))
        torch.export.save(program, "honest.pt2")
    pickled = io.BytesIO()
    torch.save(_Bomb(), pickled)
    with zipfile.ZipFile("honest.pt2") as honest, zipfile.ZipFile("attack.pt2", "w") as attack:
        swapped = [name for name in honest.namelist() if "sample_inputs" in name]
        for name in honest.namelist():
            attack.writestr(name, pickled.getvalue() if name in swapped else honest.read(name))
    assert swapped
    with pytest.raises(InputError, match=r"reading attack\.pt2 failed"):
        load_model("attack.pt2")
    assert not (folder / "unpickled").exists()


@pytest.mark.parametrize(
    ("source", "inputs", "says"),
    [
        pytest.param("user_nets:build", {}, "needs the shapes of its inputs", id="no-input"),
        pytest.param(
            "user_nets:embed_bare",
            {"idz": (1, 5), "scale": (4,)},
            "has no input 'idz': did you mean ids?",
            id="name",
        ),
        pytest.param("user_nets:fails", {}, "ValueError: no weights here (user_nets", id="fails"),
        pytest.param("user_nets:number", {}, "returned a int", id="no-module"),
        pytest.param("user_nets:bild", {}, "did you mean build?", id="no-function"),
        pytest.param("gone:build", {}, "there is no module 'gone'", id="no-module-file"),
        pytest.param("user_nets:build", {"": (1, 5, 8, 8)}, "exporting user_nets:build", id="bad"),
    ],
)
def test_errors_are_one_line(source: str, inputs: dict[str, tuple[int, ...]], says: str) -> None:
    with pytest.raises(InputError) as caught:
        load_model(source, inputs=inputs)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        pytest.param("net/data/constants/custom_obj_0", "holds code", id="pickle"),
        pytest.param("net/data/aotinductor/m/x.so", "holds code", id="library"),
        pytest.param("net/archive_format", "reading", id="not-a-program"),
    ],
)
def test_attack_a_pt2_with_code_inside(tmp_path: Path, entry: str, says: str) -> None:
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, b"pt2")
    with pytest.raises(InputError, match=says):
        load_model(path)


def test_a_damaged_pt2_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"is not a \.pt2 program"):
        load_model(path)


def test_missing_torch_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="pip install") as caught:
        load_model("user_nets:build", inputs={"": (1, 3, 8, 8)})
    assert caught.value.message == "PyTorch is not installed"
