"""What rounding does to small graphs: their histograms and ranges, as a compilation has them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hwc.backends.ort import Options, Session
from hwc.passes.rounded import rounded_constants
from hwc.toolchain.accuracy.perturbation import Activations, Rounding
from hwc.toolchain.calibration import collect
from hwc.toolchain.observe import observer
from hwc.toolchain.progress import Silent


@pytest.fixture(scope="session")
def rounding() -> Callable[[Any], Rounding]:
    """What rounding does to the numbers of a graph on the workbench (`subject`)."""

    def made(bench: Any) -> Rounding:  # noqa: ANN401 - the class is in another conftest
        tensors = sorted({tensor for slot in bench.slots.slots for tensor in slot.tensors})
        run = observer(bench.model, tensors, lambda m: Session(m, Options(1, optimise=False)))
        histograms = collect(run, lambda: bench.samples, tensors=tensors, progress=Silent())
        dialect = bench.writer.dialect
        return Rounding(
            bench.model,
            bench.slots,
            dialect,
            Activations.of(histograms, bench.writer.ranges, unsigned=dialect.unsigned_activations),
            partial(rounded_constants, dialect=dialect),
        )

    return made
