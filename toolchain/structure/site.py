"""The places where the structure of a graph may change, laid out as a search problem."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from ..latency.cost import CostModel
from ..latency.wiring import FORMATS
from ..origin import Origin
from ..plan import NodeChoice
from ..slots import Slot, SlotGraph, Work

_NO_WORK = Work(0, 0, 0, 0)
# What `passes/factorize.py` appends to the name of a node.
_FACTOR = re.compile(r"(/branch\d+)?/(factor|add)\d+(_\d+)?$")


class Change(StrEnum):
    """What may change at a site."""

    CHANNELS = "channels"
    RANK = "rank"


@dataclass(frozen=True, slots=True)
class Site:
    """One place where the structure may change.

    Attributes:
        change: What may change there.
        node: The node it is named after: the first that writes the channels, or the one that may
            be factorised.
        choices: What may be chosen; the first leaves it as it is.
        nodes: The nodes whose work the choice changes.
    """

    change: Change
    node: str
    choices: tuple[NodeChoice, ...]
    nodes: frozenset[str]

    @property
    def name(self) -> str:
        """Its name among all sites: a node may lose channels and be factorised, too."""
        return f"{self.change} of {self.node}"


@dataclass(frozen=True, slots=True)
class Part:
    """What one kernel of a graph takes.

    Attributes:
        nodes: The nodes that it runs.
        us: Its time, with the changes of form around it, in microseconds.
        weights: Weight elements that it reads.
    """

    nodes: frozenset[str]
    us: float
    weights: int


@dataclass(frozen=True, slots=True)
class Bill:
    """What a whole graph takes.

    Attributes:
        parts: Its kernels.
        fixed_us: What belongs to none of them, in microseconds.
        origin: Where the times come from.
    """

    parts: tuple[Part, ...]
    fixed_us: float
    origin: Origin

    @property
    def us(self) -> float:
        """The time of one inference, in microseconds."""
        return sum(part.us for part in self.parts) + self.fixed_us

    @property
    def weights(self) -> int:
        """Weight elements of the whole graph."""
        return sum(part.weights for part in self.parts)

    def at(self, site: Site) -> tuple[float, int]:
        """Microseconds and weight elements of the kernels that a site touches."""
        touched = [part for part in self.parts if set(map(owner, part.nodes)) & site.nodes]
        return sum(part.us for part in touched), sum(part.weights for part in touched)


def owner(node: str) -> str:
    """The node that a factor of its weight was made from; any other node itself."""
    return _FACTOR.sub("", node)


def whole_kernels(sites: Sequence[Site], bill: Bill) -> list[Site]:
    """Sites with every node of the kernels that they touch: what is timed is whole kernels."""

    def widened(site: Site) -> Site:
        touched = [part.nodes for part in bill.parts if part.nodes & site.nodes]
        return replace(site, nodes=site.nodes.union(*touched))

    return [widened(site) for site in sites]


def apart(sites: Sequence[Site]) -> list[list[int]]:
    """Indices of the sites in as few sets as a greedy colouring finds, none with a node in common.

    The sites of one set can be changed in one build: each kernel's time then tells of one of them.
    """
    sets: list[list[int]] = []
    for index, site in enumerate(sites):
        free = (s for s in sets if not any(site.nodes & sites[other].nodes for other in s))
        home = next(free, None)
        if home is None:
            sets.append([index])
        else:
            home.append(index)
    return sets


def site_graph(sites: Sequence[Site]) -> SlotGraph:
    """The sites as slots, for searches that know of nothing else."""
    slots = [
        Slot(
            name=site.name,
            op="Conv",
            parts=((site.node,),),
            inner=(),
            inputs=(),
            outputs=(),
            key=site.name,
            kind="conv",
            work=_NO_WORK,
            choices=site.choices,
        )
        for site in sites
    ]
    return SlotGraph(tuple(slots), ())


def site_costs(
    sites: Sequence[Site], base: Bill, variants: Mapping[tuple[int, int], Bill]
) -> tuple[CostModel, npt.NDArray[np.int64]]:
    """What each choice of each site takes, all other sites as they are.

    The sum over several sites is right where they share no kernel; where they do (a convolution
    that reads one pruned tensor and writes another) it is off by the product of the two changes, so
    the choice is to be measured, and prices taken again around it.

    Args:
        sites: The sites, widened to whole kernels.
        base: The graph as it is.
        variants: By site and choice: a graph in which the site has that choice, and other sites
            only where they share no kernel with it.

    Returns:
        The cost model, and weight elements of each choice, shape (sites, most choices).
    """
    most = max((len(site.choices) for site in sites), default=1)
    us = np.full((len(sites), most), np.inf)
    weights = np.zeros((len(sites), most), np.int64)
    for i, site in enumerate(sites):
        us[i, 0], weights[i, 0] = base.at(site)
        for k in range(1, len(site.choices)):
            us[i, k], weights[i, k] = variants[i, k].at(site)
    fixed = base.us - float(us[:, 0].sum())
    nothing = np.zeros((0, len(FORMATS), len(FORMATS)))
    cost = CostModel(
        site_graph(sites),
        us,
        nothing,
        np.full(us.shape, base.origin),
        np.full(nothing.shape, base.origin),
        fixed,
    )
    return cost, weights
