"""Winning back what a smaller model lost."""

from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir


class Recovery(Protocol):
    """A way to win back what a cut lost."""

    @property
    def patience(self) -> float:
        """How much more than allowed a stage may lose, since the end wins back more."""
        ...

    def stage(self, model: ir.Model) -> ir.Model:
        """A model after a stage."""
        ...

    def final(self, model: ir.Model) -> ir.Model:
        """A model at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Untrained:
    """Leaves weights as they are: what is won back was fitted while the model was cut."""

    patience: float = 1.0

    def stage(self, model: ir.Model) -> ir.Model:
        """The model itself."""
        return model

    def final(self, model: ir.Model) -> ir.Model:
        """The model itself."""
        return model
