"""Real networks build for A100 and for Orin's neighbour, after the passes that all models get."""

from pathlib import Path

import onnx_ir as ir
import pytest
from hwc.backends.trt import TensorRT
from hwc.backends.trt_runtime import AHEAD_OF_TIME, Toolkit
from hwc.passes import pipeline
from hwc.toolchain.device import load_profile
from hwc.toolchain.engine import Status

MODELS = Path(__file__).resolve().parents[2].parent / "shared" / "bench" / "dev" / "models"
SHAPES = {
    "dscnn_kws": {"input": (1, 1, 49, 10)},
    "efficientnet_lite0": {"input": (1, 3, 224, 224)},
    "minilm_l6": {"input_ids": (1, 32), "attention_mask": (1, 32)},
    "ppocr_v4_rec": {"x": (1, 3, 48, 320)},
    "resnet20_cifar10": {"input": (1, 3, 32, 32)},
    "silero_vad_16k": {"input": (1, 576), "state": (2, 1, 128), "sr": ()},
    "speaker_lstm": {"mels": (1, 160, 40)},
    "tinyvit_cifar10": {"input": (1, 3, 32, 32)},
    "yolox_nano": {"images": (1, 3, 416, 416)},
}


@pytest.mark.parametrize("device", ["a100_sxm_80gb", "jetson_agx_orin"])
@pytest.mark.parametrize("name", SHAPES)
def test_builds(name: str, device: str, tmp_path: Path) -> None:
    if Toolkit.find(AHEAD_OF_TIME) is None:
        pytest.skip("tensorrt_rtx is not installed (pip install hwc-compiler[rtx])")
    if not MODELS.is_dir():
        pytest.skip(f"no models in {MODELS}")
    backend, profile = TensorRT(), load_profile(device)
    model = ir.load(MODELS / f"{name}.onnx")
    for value in model.graph.inputs:
        value.shape = ir.Shape(SHAPES[name][str(value.name)])
    pipeline.run(model, backend.dialect(profile))
    assert not [node for node in model.graph if node.op_type == "If"]
    ir.save(model, tmp_path / "model.onnx")
    (check,) = backend.check(tmp_path / "model.onnx", profile)
    assert check.status is Status.PASSED, check.detail
