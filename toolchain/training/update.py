"""One update of a student: gradients of a batch, a step, masks, and the moving average."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from ..engine import Array
from ..frontend.torch_graph import Tensor, import_torch, tensors_of
from .batches import Part
from .losses import nuclear_norm
from .recipe import Optimizer, Precision, Recipe
from .schedule import Gradual, Thaw, learning_rate, thaw
from .student import Student
from .task import Task

_MATRIX = 2  # axes of what weight decay is for


@dataclass(frozen=True, slots=True)
class Shaping:
    """What a run does to named weights beside training them.

    Attributes:
        changed: Weights that a compression changed, for the order of unfreezing.
        low_rank: Weights whose nuclear norm is in the loss.
        gradual: Masks that grow.
    """

    changed: tuple[str, ...] = ()
    low_rank: tuple[str, ...] = ()
    gradual: Gradual | None = None


@dataclass(slots=True, eq=False)
class Updater:
    """Makes updates; `state` and `load` are all that the next one depends on.

    Attributes:
        task: Its student is changed.
        recipe: The numbers.
        shaping: What else happens to weights.
        optimizer: Of torch.
        thaw: What may change when.
        masks: Of the weights that have one now.
        masked: The share that the masks were made for; below 0 where there are none.
        average: The moving average of the student's state; empty without one.
    """

    task: Task
    recipe: Recipe
    shaping: Shaping
    optimizer: Any
    thaw: Thaw
    masks: dict[str, Tensor] = field(default_factory=dict)
    masked: float = -1.0
    average: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, task: Task, recipe: Recipe, shaping: Shaping) -> Self:
        """Make ready for the first update."""
        student = task.student
        recipe = recipe.resolved(norms=bool(student.norms), rounds=bool(student.steps))
        plan = thaw(student.model, student.learnt, shaping.changed, recipe)
        optimizer = _optimizer(student, recipe)
        made = cls(task, recipe, shaping, optimizer, plan)
        if recipe.ema:
            made.average = student.state()
        return made

    def chooses(self, over: float) -> bool:
        """Whether the best state is kept; while it is made sparse or low-rank, the last one is."""
        if self.recipe.nuclear and self.shaping.low_rank:
            return False
        return self.shaping.gradual is None or over >= self.shaping.gradual.end

    def update(self, parts: Sequence[Part], step: int, over: float) -> float:
        """Make one update.

        Args:
            parts: The batch.
            step: How many updates were made before.
            over: Share of the run that is over.

        Returns:
            The loss before the update; NaN, without an update, where it or a gradient is not
            finite.
        """
        torch = import_torch()
        self._set_free(over)
        self.optimizer.zero_grad(set_to_none=True)
        total = self._backward(parts)
        tensors = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(tensors, self.recipe.clip)
        if not bool(torch.isfinite(norm)):
            return float("nan")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, over)
        self.optimizer.step()
        self._mask(over)
        self._follow(step)
        return total

    def state(self) -> dict[str, Array]:
        """All that the next update depends on, as arrays."""
        tensors = {f"student.{name}": t for name, t in self.task.student.state().items()}
        tensors |= {f"average.{name}": t for name, t in self.average.items()}
        tensors |= {f"mask.{name}": t for name, t in self.masks.items()}
        for index, parameter in enumerate(self._parameters()):
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if value is not None:
                    tensors[f"optimizer.{index}.{key}"] = value
        arrays = {name: t.detach().contiguous().numpy().copy() for name, t in tensors.items()}
        if self.shaping.gradual is not None:
            arrays["masked"] = np.array([self.masked])
        return arrays

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Put back what `state` gave."""
        tensors = tensors_of(arrays)
        self.task.student.load(_under("student", tensors))
        self.average = _under("average", tensors)
        self.masks = _under("mask", tensors)
        if self.shaping.gradual is not None:
            self.masked = float(arrays["masked"][0])
        parameters = self._parameters()
        self.optimizer.state.clear()
        for name, tensor in _under("optimizer", tensors).items():
            index, _, key = name.partition(".")
            self.optimizer.state[parameters[int(index)]][key] = tensor

    def computing(self) -> Any:  # noqa: ANN401 - a context of torch
        """The context in which torch computes in the recipe's precision.

        Where a student learns to round, bfloat16 would round once more: it has to be asked for.
        """
        torch, wanted = import_torch(), self.recipe.precision
        auto = wanted is Precision.AUTO and not self.task.student.steps and _has_bfloat16()
        wide = wanted is Precision.BFLOAT16 or auto
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=wide)

    def _backward(self, parts: Sequence[Part]) -> float:
        """Add up the gradients of a batch, and give its loss."""
        count, total = sum(len(part) for part in parts), 0.0
        for part in parts:
            self.task.student.graph.module.train(len(part) > 1)  # one sample has no statistics
            with self.computing():
                wanted = self.task.lessons.of(part)
                got = self.task.student(tensors_of(part.feeds))
            loss = self.task.loss(got, wanted, part.labels) * (len(part) / count)
            loss.backward()
            total += float(loss.detach())
        if self.recipe.nuclear and self.shaping.low_rank:
            weights = [self.task.student.graph.weights[name] for name in self.shaping.low_rank]
            loss = self.recipe.nuclear * nuclear_norm(weights)
            loss.backward()
            total += float(loss.detach())
        return total

    def _set_free(self, over: float) -> None:
        """Have only those weights collect gradients that may change now."""
        free = self.thaw.free(over)
        for name in self.task.student.learnt:
            for tensor in self.task.student.parameters(name):
                tensor.requires_grad_(name in free)

    def _mask(self, over: float) -> None:
        """Renew the masks where it is time, and apply them."""
        gradual = self.shaping.gradual
        if gradual is not None and gradual.due(over, self.masked):
            self.masked = gradual.share(over)
            made = gradual.make(self.task.student.weights(), self.masked)
            self.masks = tensors_of({name: mask.astype("f4") for name, mask in made.items()})
        self.apply_masks()

    def apply_masks(self) -> None:
        """Set to zero what is masked."""
        with import_torch().no_grad():
            for name, mask in self.masks.items():
                for tensor in self.task.student.parameters(name):
                    tensor.mul_(mask)

    def _follow(self, step: int) -> None:
        """Move the average; at first it follows closely."""
        if not self.recipe.ema:
            return
        decay = min(self.recipe.ema, (1 + step) / (10 + step))
        for name, tensor in self.task.student.state().items():
            self.average[name].lerp_(tensor, 1 - decay)

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]


def _has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16: 1.7 times as fast as float32 where it does."""
    cpu = import_torch().cpu
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    asked = (getattr(cpu, name, None) for name in names)  # private: another torch may lack them
    return any(bool(ask()) for ask in asked if ask is not None)


def _optimizer(student: Student, recipe: Recipe) -> Any:  # noqa: ANN401 - an optimizer of torch
    """The optimizer of a recipe, with weight decay for matrices and kernels alone."""
    torch = import_torch()
    learnt = (t for name in student.learnt for t in student.parameters(name))
    tensors = list(dict.fromkeys((*learnt, *student.steps)))
    groups = [
        {"params": [t for t in tensors if t.ndim >= _MATRIX], "weight_decay": recipe.weight_decay},
        {"params": [t for t in tensors if t.ndim < _MATRIX], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer is Optimizer.ADAMW:
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999))
    nesterov = recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one part of a state."""
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
