"""What compilers make of versions of a model: int8 bundles in shared scales, and engines."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import onnx
from hwc.backends.trt_runtime import AHEAD_OF_TIME, Target, Toolkit
from hwc.toolchain.bundle import Bundle
from hwc.toolchain.engine import Array
from hwc.toolchain.update.content.describe import walk
from hwc.tools.backends import open_backend
from hwc.tools.loaded import input_specs, load_engine

from .answers import agreement, recording
from .calibration import arguments
from .compilation import compile_model
from .contest import Engines
from .devkit import Case, Run, SkipError, as_run, evaluate

_SM = 80
_WORKSPACE = 1 << 30  # bytes
# The whole network in int8 where that is close enough: what a plan keeps in fp32 moves as fp32.
_ASKED = ("--precision", "int8", "--effort", "0", "--max-drop", "5%", "--threads", "1")

Files = Mapping[str, bytes]


def compiled(case: Case, old: Path, new: Path, work: Path) -> tuple[Files, Files, str]:
    """The bundles of two versions, the new one with the plan and scales of the old one.

    Args:
        case: What they are versions of.
        old: The ONNX file of the one.
        new: Of the other.
        work: Where the bundles go; those that are there are kept.

    Returns:
        The files of both, and how far the new bundle's answers on the evaluation data are those of
        the new model in fp32.

    Raises:
        SkipError: `hwc compile` refuses.
    """
    data = arguments(case, work / "data")
    bundles = work / "old.hwc", work / "new.hwc"
    for model, bundle, asked in (
        (old, bundles[0], _ASKED),
        (new, bundles[1], ("--base", str(bundles[0]), *_ASKED[-4:])),
    ):
        if not bundle.exists():
            outcome = compile_model(model, bundle, *data, *asked, cache=work / "cache")
            if outcome.code:
                raise SkipError(f"hwc compile {model.name}: {outcome.message}")
    share = agreement(case, _answers(case, _of_bundle(bundles[1])), _answers(case, _of_file(new)))
    note = f"{share:.1%} of its answers are those of the new model in fp32"
    return _files(bundles[0]), _files(bundles[1]), note


def engine(model: bytes) -> bytes:
    """The TensorRT-RTX engine of a model for batches of 1.

    Raises:
        SkipError: There is no builder.
    """
    toolkit = Toolkit.find(AHEAD_OF_TIME)
    if toolkit is None:
        raise SkipError(f"{AHEAD_OF_TIME} is not installed")
    fixed = onnx.load_from_string(model)
    for value in fixed.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        onnx.save(fixed, path)
        return bytes(toolkit.build(path, Target(_SM, _WORKSPACE)))


def _files(bundle: Path) -> Files:
    return {path: (bundle / path).read_bytes() for path in walk(bundle)}


def _answers(case: Case, run: Run) -> list[Array]:
    recorded, answers = recording(case, run)
    evaluate(case, recorded)
    return answers


def _of_bundle(path: Path) -> Run:
    with Bundle.open(path) as bundle:
        runner = load_engine(bundle, open_backend(bundle.manifest.backend), 1)
        return as_run(runner, input_specs(bundle))


def _of_file(path: Path) -> Run:
    runner = Engines.of_file(path).parallel()
    return lambda feeds: list(runner(feeds).values())
