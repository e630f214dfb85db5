"""What a compilation knows once its model and its data are read."""

from dataclasses import dataclass, replace

import onnx_ir as ir

from ...toolchain.accuracy.evaluator import Reference
from ...toolchain.accuracy.metric import Metric
from ..request import Request
from .prepare import Prepared
from .target import Target


@dataclass(frozen=True, slots=True)
class Compilation:
    """One compilation, before anything is decided.

    Attributes:
        request: What is asked.
        target: The device.
        prepared: The model and the data.
        search: The search split, with the original's outputs.
        metric: What counts.
    """

    request: Request
    target: Target
    prepared: Prepared
    search: Reference
    metric: Metric

    def of(self, model: ir.Model) -> "Compilation":
        """The same with another graph in the model's place."""
        return replace(self, prepared=replace(self.prepared, model=model))
