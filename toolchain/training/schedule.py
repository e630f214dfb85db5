"""How a run changes on its way: learning rate, what may change, and how much is masked.

Time in here is the share of the run that is over, from 0 to 1.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ..engine import Array
from .recipe import Recipe, Unfreeze

Masks = Mapping[str, Array]  # by the weight's name, 0 where it is to be 0; they broadcast
MakeMasks = Callable[[Mapping[str, Array], float], Masks]  # of the weights now and a share to mask


def learning_rate(recipe: Recipe, over: float) -> float:
    """Linear warm-up, then half a cosine down to 0."""
    if over < recipe.warmup:
        return recipe.lr * over / recipe.warmup
    rest = (over - recipe.warmup) / max(1.0 - recipe.warmup, 1e-9)
    return recipe.lr * 0.5 * (1.0 + math.cos(math.pi * min(rest, 1.0)))


@dataclass(frozen=True, slots=True)
class Gradual:
    """Weights are masked little by little while they are trained.

    The share follows the cubic schedule of Zhu and Gupta 2017, "To prune, or not to prune:
    exploring the efficacy of pruning for model compression", equation 1.

    Attributes:
        make: Gives the masks for a share; called again and again with the weights of the moment,
            which are those of the graph with its batch norms folded. Its text says all that it
            depends on: it is part of what a checkpoint is of.
        final: The share at the end.
        initial: The share at the beginning.
        begin: When it begins to rise.
        end: When it has reached `final`; from then on the masks stay what they are.
        rise: How much the share rises between two calls. Not a number of steps: where the clock
            ends a run, nobody knows how many it has.
    """

    make: MakeMasks
    final: float
    initial: float = 0.0
    begin: float = 0.0
    end: float = 0.6
    rise: float = 0.02

    def share(self, over: float) -> float:
        """How much is masked at a time."""
        along = min(max((over - self.begin) / max(self.end - self.begin, 1e-9), 0.0), 1.0)
        return self.final + (self.initial - self.final) * (1.0 - along) ** 3

    def due(self, over: float, masked: float) -> bool:
        """Whether the masks are to be made again; at the end for the last time.

        Args:
            over: Share of the run that is over.
            masked: The share that they were made for; below 0 where there are none.
        """
        share = self.share(over)
        return share > masked and (over >= self.end or share >= masked + self.rise)


@dataclass(frozen=True, slots=True)
class Thaw:
    """Which weights may change when.

    Attributes:
        groups: Names of weights, in the order in which they are let go.
        until: When the last group is.
    """

    groups: Sequence[Collection[str]]
    until: float

    def free(self, over: float) -> frozenset[str]:
        """The weights that may change at a time; the first group may from the beginning."""
        along = 1.0 if over >= self.until else over / self.until
        count = max(1, math.ceil(len(self.groups) * along))
        return frozenset(name for group in self.groups[:count] for name in group)


def thaw(model: ir.Model, names: Collection[str], changed: Collection[str], recipe: Recipe) -> Thaw:
    """What a recipe's unfreezing means for a graph.

    Args:
        model: The graph.
        names: The weights that are trained.
        changed: Those of them that a compression changed.
        recipe: Says the order.
    """
    if recipe.unfreeze is Unfreeze.ALL:
        return Thaw([tuple(names)], 0.0)
    seen: set[str] = set()
    groups: list[tuple[str, ...]] = []
    first = [name for name in names if name in set(changed)]
    if recipe.unfreeze is Unfreeze.CHANGED and first:
        groups.append(tuple(first))
        seen.update(first)
    for node in reversed(list(model.graph)):
        read = [str(v.name) for v in node.inputs if v is not None]
        own = tuple(dict.fromkeys(n for n in read if n in set(names) and n not in seen))
        if own:
            groups.append(own)
            seen.update(own)
    return Thaw(groups or [tuple(names)], recipe.unfreeze_until)
