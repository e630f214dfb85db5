"""The peer: int8 as ONNX Runtime's own quantizer makes it from the same data."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from hwc.backends import ort
from hwc.toolchain.engine import Feeds
from hwc.toolchain.errors import HwcError
from hwc.toolchain.frontend.user_code import attempt
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

_REMARK = 120  # characters of the peer's refusal that are kept


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not annotated
    """Feeds, one at a time."""

    def __init__(self, feeds: Sequence[Feeds]) -> None:
        self._feeds: Iterator[Feeds] = iter(feeds)

    def get_next(self) -> Feeds | None:
        """The next one, or None."""
        return next(self._feeds, None)


def quantize(model: Path, feeds: Sequence[Feeds], target: Path) -> str:
    """Quantize a model as the peer does: static, u8s8, per channel, MinMax; else dynamic.

    Returns:
        How it was made, and why not statically where that failed.
    """
    logging.getLogger().setLevel(logging.ERROR)  # it advises at length
    model, target = model.absolute(), target.absolute()
    # Its preparation leaves files in the working directory.
    with tempfile.TemporaryDirectory(prefix="hwc-peer-") as folder, chdir(folder):
        prepared, remark = _prepared(model, Path(folder) / "prepared.onnx")
        try:
            with attempt("static"):
                _static(prepared, feeds, target)
                ort.Session(target)(feeds[0])
        except HwcError as cause:
            quantize_dynamic(prepared, target, per_channel=True, weight_type=QuantType.QInt8)
            return f"dynamic{remark}; {cause.message[:_REMARK]}"
        return f"static{remark}"


def _prepared(model: Path, target: Path) -> tuple[Path, str]:
    """The model after the peer's own preparation, as far as that works."""
    attempts: tuple[dict[str, Any], ...] = ({}, {"skip_symbolic_shape": True})
    for options in attempts:
        try:
            with attempt("preparation"):  # it raises plain Exceptions
                quant_pre_process(model, target, **options)
        except HwcError:
            continue
        return target, " without symbolic shapes" if options else ""
    return model, " without preparation"


def _static(model: Path, feeds: Sequence[Feeds], target: Path) -> None:
    quantize_static(
        model,
        target,
        _Reader(feeds),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        calibrate_method=CalibrationMethod.MinMax,
    )
