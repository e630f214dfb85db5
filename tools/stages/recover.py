"""Winning back what a smaller model lost."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import onnx_ir as ir

from ...backends import ort
from ...toolchain.accuracy.data import load_samples
from ...toolchain.accuracy.evaluator import Reference
from ...toolchain.accuracy.samples import Samples, Subset, each, labelled
from ...toolchain.errors import InputError, OutputError
from ...toolchain.frontend.shapes import model_inputs
from ...toolchain.output import check_target
from ...toolchain.plan import Plan
from ...toolchain.progress import Progress, Silent
from ...toolchain.training.batches import held_out
from ...toolchain.training.hold import hold
from ...toolchain.training.qat import quantise
from ...toolchain.training.recipe import Recipe
from ...toolchain.training.student import Student, common_features
from ...toolchain.training.task import Task
from ...toolchain.training.trainer import Limits, train
from ...toolchain.training.update import Shaping
from ..request import Recover, Request
from .compilation import Compilation
from .decide import Decisions, reference
from .prepare import Prepared
from .qat import growing_zeros, rounded_tensors, rounded_weights, with_weights

STAGE = 0.06  # of the time, after each cut
FINAL = 0.75  # of what is left of it, at the end: the rest is for a second end, if that is needed
PATIENCE = 3.0  # a cut may lose so much more than allowed: the end is trained for longer
WITH_LABELS = 0.5  # share of distillation, where there are labels, too
LEAST = 5.0  # seconds: training with rounding gains nothing in fewer
_MATRIX = 2  # axes
_ENDLESS = 10**7  # steps: the clock ends a run
_FEW = 64  # samples that tell whether training can begin
_HELD = 2 * 2**30  # bytes of training data that are read once


class Recovery(Protocol):
    """A way to win back what a cut lost."""

    @property
    def patience(self) -> float:
        """How much more than allowed a stage may lose, since the end wins back more."""
        ...

    @property
    def validation(self) -> Samples:
        """Samples that nothing is fitted to; none where there are no better ones than others."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how it went."""
        ...

    def stage(self, model: ir.Model) -> ir.Model:
        """A model after a stage."""
        ...

    def final(self, model: ir.Model) -> ir.Model:
        """A model at the end."""
        ...

    def rounded(self, decisions: Decisions, plan: Plan) -> Decisions | None:
        """The decisions with weights that were trained for a plan; None where they were not."""
        ...


@dataclass(frozen=True, slots=True)
class Untrained:
    """Leaves weights as they are: what is won back was fitted while the model was cut."""

    patience: float = 1.0
    validation: Samples = ()
    notes: tuple[str, ...] = ()

    def stage(self, model: ir.Model) -> ir.Model:
        """The model itself."""
        return model

    def final(self, model: ir.Model) -> ir.Model:
        """The model itself."""
        return model

    def rounded(self, decisions: Decisions, plan: Plan) -> Decisions | None:  # noqa: ARG002 - the protocol's signature
        """Nothing: nothing is trained."""
        return None


@dataclass(slots=True, eq=False)
class Trained:
    """Trains a model to say what the original says, and the labels where there are some.

    It takes every core: the threads that are asked for are those of an inference.

    Attributes:
        whole: The original, after the graph passes: the teacher.
        samples: What is trained on.
        validation: What is not.
        recipe: How.
        seconds: For all of it.
        folder: Where checkpoints are kept; None: nowhere.
        progress: Told of each step.
        spent: Seconds of each run so far.
        told: What the runs had to say.
    """

    whole: ir.Model
    samples: Samples
    validation: Samples
    recipe: Recipe
    seconds: float
    folder: Path | None
    progress: Progress
    patience: float = PATIENCE
    spent: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how it went, once."""
        return tuple(dict.fromkeys(self.told))

    def rehearse(self) -> None:
        """See that the data and torch will do, before anything costs time.

        Raises:
            InputError: The samples are too few, a label is no class, or torch cannot run the model.
            UsageError: Augmentation is asked for what are no pictures.
        """
        few = Subset(self.samples, list(range(min(_FEW, len(self.samples)))))
        teacher = Student.of(self.whole, few, _run)
        task = Task.of(teacher, teacher, few, recipe=self.recipe)
        if labelled(self.samples) and not task.loss.classes:
            self.told.append("training: labels are not used, since no output holds class scores")
        if isinstance(self.samples, list):
            task.loss.check_labels(hold(self.samples, progress=Silent()).labels)

    def stage(self, model: ir.Model) -> ir.Model:
        """Train for a small share of the time."""
        return self._trained(model, STAGE * self.seconds)

    def final(self, model: ir.Model) -> ir.Model:
        """Train for most of what is left of the time."""
        return self._trained(model, FINAL * self._left)

    def rounded(self, decisions: Decisions, plan: Plan) -> Decisions | None:
        """Train with the rounding and zeros of a plan, for most of what is left of the time."""
        weights = rounded_weights(decisions.writer, plan)
        if not weights or self._left < LEAST:
            return None
        model, tensors = decisions.writer.model, rounded_tensors(decisions.simulator, plan)
        try:
            made = quantise(Student.of(model, self.samples, _run), weights, tensors)
        except InputError as cause:  # nothing is lost: the plan is built as it is
            self.told.append(f"not trained with rounding: {cause.message}")
            return None
        teacher = Student.of(self.whole, self.samples, _run)
        shaping = Shaping(gradual=growing_zeros(decisions.writer, plan))
        self._train(made.student, teacher, FINAL * self._left, shaping)
        return with_weights(decisions, made.to_model())

    @property
    def _left(self) -> float:
        return max(0.0, self.seconds - sum(self.spent))

    def _trained(self, model: ir.Model, seconds: float) -> ir.Model:
        shared = common_features(self.whole, model)
        teacher = Student.of(self.whole, self.samples, _run, features=shared)
        student = Student.of(model, self.samples, _run, features=shared, norms=self.recipe.norms)
        self._train(student, teacher, seconds, self._shaping(student))
        return student.to_model(self.samples, _run)

    def _train(self, student: Student, teacher: Student, seconds: float, shaping: Shaping) -> None:
        task = Task.of(student, teacher, self.samples, recipe=self.recipe, progress=self.progress)
        if self.folder is not None:
            self.folder.mkdir(exist_ok=True)
        checkpoint = self.folder and self.folder / f"train{len(self.spent)}.safetensors"
        limits = Limits(seconds, checkpoint=checkpoint)
        result = train(task, self.recipe, shaping=shaping, limits=limits, progress=self.progress)
        if result.note:
            self.told.append(result.note)
            self.progress.note(result.note)
        self.spent.append(result.seconds)

    def _shaping(self, student: Student) -> Shaping:
        """What the cuts changed, and what is to become of lower rank."""
        before = {name: value.shape for name, value in self.whole.graph.initializers.items()}
        after = {name: student.model.graph.initializers[name].shape for name in student.learnt}
        matrices = [name for name, shape in after.items() if shape and len(shape) >= _MATRIX]
        return Shaping(
            changed=tuple(name for name, shape in after.items() if before.get(name) != shape),
            low_rank=tuple(matrices) if self.recipe.nuclear else (),
        )


def recovery(request: Request, prepared: Prepared, progress: Progress) -> Recovery:
    """How what is lost is won back.

    Raises:
        InputError: The training data cannot be used, or torch cannot run the model.
    """
    if request.recovery is not Recover.FULL:
        return Untrained()
    with progress.stage("read the training data"):
        samples = load_samples(
            request.train_data, model_inputs(prepared.original), preprocess=request.preprocess
        )
        train_on, rest = held_out(samples, request.seed)
        size = len(train_on) * sum(array.nbytes for array in samples[0].feeds.values())
        used: Samples = list(each(train_on)) if size <= _HELD else train_on
    alpha = WITH_LABELS if labelled(samples) else 1.0
    trained = Trained(
        whole=prepared.model,
        samples=used,
        validation=rest,
        recipe=Recipe.parse(
            request.recipe,
            steps=_ENDLESS,
            alpha=alpha,
            augment=request.augment,
            seed=request.seed,
        ),
        seconds=60.0 * request.train_minutes,
        folder=request.checkpoint,
        progress=progress,
    )
    with progress.stage("try the training"):
        trained.rehearse()
    return trained


def judge_of(begun: Compilation, regained: Recovery) -> Reference:
    """Data that nothing is fitted to, with the original's outputs.

    What training left out, where it is labelled as the search split is: there is more of it. Else
    the search split with that which ranks: a few hundred samples tell a point of drop from none.
    """
    search, held, rank = begun.search, regained.validation, begun.prepared.splits.rank
    if len(held) and labelled(search.samples) == labelled(held):
        return Reference.of(reference(begun.prepared.original), held, "validation")
    if len(rank):
        both = [*each(search.samples), *each(rank)]
        return Reference.of(reference(begun.prepared.original), both, "search and rank")
    return search


def check_folder(folder: Path | None) -> None:
    """Refuse, before any long work, a folder that no checkpoint could be written to.

    Raises:
        OutputError: It is a file, or it or the folder around it cannot be written to.
    """
    if folder is None:
        return
    hint = "change --checkpoint"
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is a file, not a folder", hint)
    try:
        check_target(folder / "train0.safetensors" if folder.is_dir() else folder, force=True)
    except OutputError as cause:
        raise OutputError(cause.message, hint) from cause


def _run(model: ir.Model) -> ort.Session:
    return ort.Session(model, ort.Options(optimise=False))
