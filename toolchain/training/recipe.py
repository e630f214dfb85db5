"""What a training run is told: every number in one frozen value, which names its checkpoint."""

import math
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Self

from ..errors import UsageError


class Optimizer(StrEnum):
    """How gradients become steps."""

    AUTO = "auto"  # SGD where there are batch norms, or steps to learn; AdamW elsewhere
    SGD = "sgd"  # with Nesterov's momentum
    ADAMW = "adamw"


class Unfreeze(StrEnum):
    """What may change first; the rest follows until `Recipe.unfreeze_until`."""

    ALL = "all"  # everything from the first step
    HEAD = "head"  # from the outputs down
    CHANGED = "changed"  # first what a compression changed, then from the outputs down


class Precision(StrEnum):
    """What torch computes in; weights and their updates are float32 in any case."""

    AUTO = "auto"  # bfloat16 where the processor multiplies it
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training run.

    Attributes:
        steps: Updates at most; a limit on time may end the run sooner.
        batch: Samples an update.
        lr: The highest learning rate, after the warm-up; it falls to 0 along a cosine (Loshchilov
            and Hutter 2017, "SGDR: stochastic gradient descent with warm restarts"). 0 for what
            fits the optimizer.
        optimizer: SGD with Nesterov's momentum, or AdamW.
        momentum: Of SGD; AdamW's first beta.
        weight_decay: Of weights with two axes or more; biases and norms have none.
        warmup: Share of the run in which the learning rate rises from 0.
        clip: The largest norm of the gradient of all weights together.
        temperature: Of distillation (Hinton et al. 2015, "Distilling the knowledge in a neural
            network").
        alpha: Share of distillation in the loss; the rest is cross-entropy with the labels. With
            no labels, or no output of classes, it counts as 1.
        smoothing: Of labels (Szegedy et al. 2016, "Rethinking the Inception architecture").
        features: Weight of the distance between those features that student and teacher return; 0
            leaves them out. With the ends of all residual blocks, ResNet-20 with half of its inner
            channels gone came to 72 % top-1 in 100 steps (30 s of CPU time) where logits alone
            came to 66 % (25 s), and with the ends of the three stages to 71 %.
        nuclear: Weight of the sum of the singular values of the weights it is applied to.
        unfreeze: What may change first.
        unfreeze_until: Share of the run after which everything may.
        ema: Decay of the moving average of weights that is validated and returned; 0 for none.
        norms: Whether batch norms are put back behind convolutions while training.
        precision: What torch computes in.
        augment: Words of `Augmentation.parse`; empty for none.
        seed: Of order and augmentation.
    """

    steps: int = 1000
    batch: int = 128
    lr: float = 0.0
    optimizer: Optimizer = Optimizer.AUTO
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup: float = 0.05
    clip: float = 5.0
    temperature: float = 4.0
    alpha: float = 0.9
    smoothing: float = 0.0
    features: float = 20.0
    nuclear: float = 0.0
    unfreeze: Unfreeze = Unfreeze.ALL
    unfreeze_until: float = 0.5
    ema: float = 0.0
    norms: bool = True
    precision: Precision = Precision.AUTO
    augment: str = ""
    seed: int = 0

    @classmethod
    def parse(cls, text: str, **known: object) -> Self:
        """Read words such as `lr=0.01 unfreeze=head`, which go before what is known otherwise.

        Raises:
            UsageError: A word names nothing of a recipe, or what it says is not allowed.
        """
        kinds = {field.name: type(field.default) for field in fields(cls) if field.name not in _SET}
        found: dict[str, object] = {}
        for word in text.split():
            name, _, value = word.partition("=")
            if name not in kinds:
                hint = f"write name=value; the names are {', '.join(kinds)}"
                raise UsageError(f"--recipe: {word!r} sets nothing of a training run", hint)
            found[name] = _read(name, value, kinds[name])
        return cls(**{**known, **found})  # type: ignore[arg-type]  # of the fields' own types

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing.

        Raises:
            UsageError: One is out of its range.
        """
        for name in ("steps", "batch"):
            _within(self, name, 1, float("inf"))
        for name in ("clip", "temperature"):
            _within(self, name, 1e-12, float("inf"))
        for name in ("lr", "weight_decay", "features", "nuclear"):
            _within(self, name, 0, float("inf"))
        for name in ("momentum", "warmup", "alpha", "smoothing", "unfreeze_until", "ema"):
            _within(self, name, 0, 1)

    def resolved(self, *, norms: bool, rounds: bool) -> Self:
        """The recipe with nothing left to choose.

        The rates did best of those three apart on ResNet-20 with half of its inner channels gone:
        after 100 steps of distillation SGD with norms was at 64 % top-1, AdamW with them at 58 %;
        without them AdamW was at 44 %, SGD at 41 %.

        Args:
            norms: Whether the student has batch norms.
            rounds: Whether it learns to round.
        """
        chosen = Optimizer.SGD if norms or rounds else Optimizer.ADAMW
        optimizer = chosen if self.optimizer is Optimizer.AUTO else self.optimizer
        lr = _RATES[optimizer, norms]
        return replace(self, optimizer=optimizer, lr=self.lr or lr)


# What is set elsewhere: by options of their own, or by the clock.
_SET = frozenset({"steps", "augment", "seed"})
_WORDS = {"true": True, "false": False}


def _read(name: str, value: str, kind: type) -> object:
    """One value of a recipe, of the type of its default."""
    try:
        made: object = _WORDS[value] if kind is bool else kind(value)
    except (KeyError, ValueError):
        made = None
    if made is None or (isinstance(made, float) and not math.isfinite(made)):
        among = tuple(_WORDS) if kind is bool else tuple(kind) if issubclass(kind, StrEnum) else ()
        wanted = f"one of {', '.join(among)}" if among else "a number"
        raise UsageError(f"--recipe: {name}={value}", f"{name} is {wanted}")
    return made


# The learning rates of optimizers, with batch norms and without.
_RATES = {
    (Optimizer.SGD, True): 0.03,
    (Optimizer.SGD, False): 0.01,
    (Optimizer.ADAMW, True): 3e-3,
    (Optimizer.ADAMW, False): 1e-3,
}


def _within(recipe: Recipe, name: str, low: float, high: float) -> None:
    value = getattr(recipe, name)
    if not low <= value <= high:
        limit = f"{low:g} to {high:g}" if high < float("inf") else f"at least {low:g}"
        raise UsageError(f"a training run with {name} {value:g}", f"{name} must be {limit}")
