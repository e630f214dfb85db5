"""int8 for Ascend: what AMCT, the model compression toolkit of CANN, is told to quantise.

ATC refuses Q/DQ nodes; AMCT calibrates on the device's host and writes its own operators. Options
and configuration: CANN 8.0, "AMCT instructions", command line and calibration_config_onnx.proto.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from ..toolchain.engine import Feeds
from ..toolchain.plan import Precision
from .signature import Signature

CONFIG = ".amct.cfg"
CALIBRATION = "calibration"  # folder in the bundle; in it one folder an input, one file a sample
QUANTISABLE = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "AveragePool"})


def config(model: ir.Model, precisions: Mapping[str, Precision]) -> str:
    """The simplified configuration (protobuf text): only what a plan puts in int8 is quantised.

    Activations get an offset, weights a scale per channel, which AMCT has for Conv only.
    """
    skipped = [
        str(node.name)
        for node in model.graph
        if node.op_type in QUANTISABLE and precisions.get(str(node.name)) is not Precision.INT8
    ]
    lines = ["activation_offset : true", "do_fusion : false"]
    lines += [f"skip_layers : {json.dumps(name, ensure_ascii=False)}" for name in skipped]
    lines += ["common_config {", "    arq_quantize {", "        channel_wise : true", "    }", "}"]
    return "\n".join(lines) + "\n"


def command(stem: str, signature: Signature, *, shapes: str, samples: int) -> list[str]:
    """The command that writes `<stem>.int8_deploy_model.onnx` from `<stem>.onnx`."""
    return [
        "amct_onnx",
        "calibration",
        f"--model={stem}.onnx",
        f"--save_path={stem}.int8",
        f"--input_shape={shapes}",
        "--data_dir=" + ";".join(f"{CALIBRATION}/{i}" for i in range(len(signature.inputs))),
        "--data_types=" + ";".join(spec.dtype for spec in signature.inputs),
        f"--calibration_config={stem}{CONFIG}",
        f"--batch_num={samples}",
    ]


def deploy_model(stem: str) -> str:
    """The file that AMCT writes for ATC."""
    return f"{stem}.int8_deploy_model.onnx"


def write_samples(folder: Path, signature: Signature, feeds: Iterable[Feeds]) -> int:
    """Write calibration samples as raw files into a bundle; how many there are.

    The folders are numbered like the inputs, because a name may not be one of a folder.
    """
    count = 0
    for feed in feeds:
        for index, spec in enumerate(signature.inputs):
            place = folder / CALIBRATION / str(index)
            place.mkdir(parents=True, exist_ok=True)
            array = np.ascontiguousarray(feed[spec.name], spec.dtype)
            array.tofile(place / f"{count:06d}.bin")
        count += 1
    return count


def count_samples(folder: Path) -> int:
    """How many calibration samples a bundle holds."""
    return sum(1 for _ in (folder / CALIBRATION / "0").glob("*.bin"))
