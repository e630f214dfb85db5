"""Stage 1: the model as one clean graph, the data in three parts, and an example input."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ...passes.journal import Journal
from ...toolchain.accuracy.data import load_samples
from ...toolchain.accuracy.samples import Sample
from ...toolchain.accuracy.split import Splits, split
from ...toolchain.engine import Feeds
from ...toolchain.errors import UsageError
from ...toolchain.frontend.load import load_model
from ...toolchain.frontend.shapes import fix_shapes, model_inputs
from ...toolchain.inputs import InputSpec
from ...toolchain.progress import Progress
from ..request import Request
from .rewrite import rewrite
from .target import Target

RANDOM_SAMPLES = 24  # inputs made up where the user gave none


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model that is ready for decisions.

    Attributes:
        original: The model as it came in, in a graph that the runtime takes.
        model: The same after the graph passes, in the dialect's opset.
        splits: The data, in three parts.
        real: Whether the data is the user's; otherwise it is random numbers.
        feeds: One sample's inputs.
        journal: What the graph passes did.
        notes: What the user should know.
    """

    original: ir.Model
    model: ir.Model
    splits: Splits
    real: bool
    feeds: Feeds
    journal: Journal
    notes: tuple[str, ...]


def prepare(request: Request, target: Target, progress: Progress) -> Prepared:
    """Load the model and the data, and run the graph passes.

    Raises:
        InputError: Model or data cannot be used.
        UsageError: The runtime needs fixed shapes that nothing gives.
    """
    with progress.stage("load the model"):
        original = load_model(
            request.model, inputs=request.inputs, surgery=request.surgery, progress=progress
        )
    with progress.stage("read the data"):
        splits, real = _data(request, model_inputs(original))
        feeds = splits.calibrate[0].feeds
    if target.dialect.static_shapes:
        original = _static(original, feeds, given=real or bool(request.inputs))
    with progress.stage("graph passes"):
        model, journal = rewrite(original, target.dialect, progress)
    for line in journal.lines():
        progress.note(line)
    notes = tuple(note for note in (splits.note,) if note and real)
    return Prepared(original, model, splits, real, feeds, journal, notes)


def _data(request: Request, inputs: tuple[InputSpec, ...]) -> tuple[Splits, bool]:
    if not request.data:
        made_up = RandomSamples(inputs, RANDOM_SAMPLES)
        return split(made_up, seed=request.seed), False
    samples = load_samples(
        request.data,
        inputs,
        preprocess=request.preprocess,
        count=request.samples,
        seed=request.seed,
    )
    evaluation = (
        load_samples(request.evaluation, inputs, preprocess=request.preprocess)
        if request.evaluation
        else None
    )
    return split(samples, evaluation, seed=request.seed), True


@dataclass(frozen=True, slots=True)
class RandomSamples:
    """Normal numbers (0 and 1 for integers): good for shapes and times, not for accuracy."""

    inputs: tuple[InputSpec, ...]
    count: int

    def __len__(self) -> int:
        """How many there are."""
        return self.count

    def __getitem__(self, index: int) -> Sample:
        """Make one; the same each time."""
        rng = np.random.default_rng(index)
        return Sample({spec.name: _random(spec, rng) for spec in self.inputs})


def _random(spec: InputSpec, rng: np.random.Generator) -> np.ndarray:
    shape = tuple(dim if isinstance(dim, int) else 1 for dim in spec.shape)
    if np.dtype(spec.dtype).kind == "f":
        return rng.standard_normal(shape).astype(spec.dtype)
    return rng.integers(0, 2, shape).astype(spec.dtype)


def _static(model: ir.Model, feeds: Feeds, *, given: bool) -> ir.Model:
    """Fix every free dimension to the data's shapes; without data only the batch may be free."""
    for spec in model_inputs(model):
        free = [dim for dim in spec.shape[1:] if not isinstance(dim, int)]
        if free and not given:
            raise UsageError(
                f"input {spec.name!r} has the free dimensions {free}; the device needs fixed ones",
                f"give --input {spec.name}=SHAPE, or --data",
            )
    return fix_shapes(model, {name: array.shape for name, array in feeds.items()}, static=True)
