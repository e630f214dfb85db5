"""What a training run is about: who learns what from whom, on which samples."""

from dataclasses import dataclass, replace
from itertools import islice
from typing import Self

import numpy as np

from ..accuracy.samples import Samples
from ..frontend.torch_graph import import_torch, tensors_of
from ..progress import Progress, Silent
from .augment import Augmentation
from .batches import Batches, held_out
from .checkpoint import digest
from .losses import Loss, alignable
from .recipe import Recipe
from .student import Student
from .teacher import Lessons, Teacher, example_rows

_EXAMPLES = 64  # samples that tell what the teacher's outputs are


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A student, what it learns from, and what it is judged by.

    Attributes:
        student: Is trained.
        loss: What is minimised.
        batches: Training samples.
        lessons: What the teacher says of them.
        held_out: Samples that training does not see; None where there are too few.
        exam: What the teacher says of these.
    """

    student: Student
    loss: Loss
    batches: Batches
    lessons: Lessons
    held_out: Batches | None
    exam: Lessons

    @classmethod
    def of(
        cls,
        student: Student,
        teacher: Teacher,
        samples: Samples,
        *,
        recipe: Recipe,
        progress: Progress | None = None,
    ) -> Self:
        """Read the samples and see what is to be learnt.

        Args:
            student: Is trained.
            teacher: Is asked for what the student returns; a feature is left out where it has no
                such tensor, or one of a shape that does not go with the student's.
            samples: Training data, with labels or without; a tenth is held out.
            recipe: The numbers.
            progress: Told of the reading.

        Raises:
            InputError: The samples cannot be used, labels are no classes, or no output can be
                learnt from.
            UsageError: Augmentation is asked for what are no pictures.
        """
        progress = progress or Silent()
        train, rest = held_out(samples, recipe.seed)
        augmentation = Augmentation.parse(recipe.augment)
        batches = replace(
            Batches.of(
                train, recipe.batch, augmentation=augmentation, seed=recipe.seed, progress=progress
            ),
            together=student.batched,
        )
        progress.note(f"training data: {batches.held.kept}")
        judged = None
        if len(rest):
            judged = replace(Batches.plain(rest, recipe.batch, progress), together=student.batched)
        outputs = [n for n in student.graph.outputs if n not in student.features]
        parts = list(islice((judged or batches).once(), max(1, _EXAMPLES // recipe.batch)))
        aligned = _aligned(student, teacher, batches) if recipe.features else ()
        loss = Loss.of(recipe, example_rows(teacher, parts, outputs)[:_EXAMPLES], aligned)
        for each in (batches, judged):
            loss.check_labels(None if each is None else each.held.labels)
        names = (*loss.kinds, *loss.features)
        lessons = Lessons(teacher, names, remember=not augmentation and not loss.features)
        exam = Lessons(teacher, names, remember=not loss.features)
        return cls(student, loss, batches, lessons, judged, exam)

    def digest(self, *parts: object) -> str:
        """A name for the model, the data and what else makes a run."""
        model = self.student.model
        weights = (np.asarray(v.const_value) for v in model.graph.initializers.values())
        nodes = "\n".join(f"{node.op_type} {node.name}" for node in model.graph)
        held = self.batches.held
        first = [*held.feeds(0).values(), *held.feeds(len(held) - 1).values()]
        labels = () if held.labels is None else (held.labels,)
        names = (*self.student.graph.outputs, *(norm.conv for norm in self.student.norms))
        rounding = self.student.rounding
        return digest(nodes, len(held), rounding, *names, *weights, *first, *labels, *parts)


def _aligned(student: Student, teacher: Teacher, batches: Batches) -> tuple[str, ...]:
    """The features whose shapes go together."""
    feeds = tensors_of(next(batches.once()).feeds)
    with import_torch().no_grad():
        mine, theirs = student(feeds), teacher(feeds)
    return tuple(
        name for name in student.features if name in theirs and alignable(mine[name], theirs[name])
    )
