"""Where the structure of a graph may change, and graphs in which it is."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ...passes.prune import prune
from ...toolchain.accuracy.samples import Samples
from ...toolchain.device import DeviceProfile
from ...toolchain.engine import Feeds
from ...toolchain.observe import annotate
from ...toolchain.plan import NodeChoice, Plan, Precision
from ...toolchain.structure.compensate import refit
from ...toolchain.structure.find_groups import find_groups
from ...toolchain.structure.groups import ChannelGroup, Indices
from ...toolchain.structure.moments import Moments, moments_of
from ...toolchain.structure.site import Change, Site
from ..request import Method
from .decide import reference
from .low_rank import LowRank, matrices
from .rank import Ranking

SHARES = (0.75, 0.5, 0.25)  # of a group's units, that may be left
_USUAL = 8  # channels
_FEW = 2  # steps that a group must have, to lose some of its channels


@dataclass(frozen=True, slots=True, eq=False)
class SiteWriter:
    """Writes structures of one graph.

    Attributes:
        model: The graph; it is not changed.
        groups: Its channel groups, by the name of their site.
        ranking: The units of each group from the most important down, by the group's name.
        moments: Of its tensors: what is left is fitted to what goes; None: it stays as it is.
        factorable: The node of each site where a weight may be factorised.
        low_rank: Makes factors.
    """

    model: ir.Model
    groups: Mapping[str, ChannelGroup]
    ranking: Mapping[str, Indices]
    moments: Moments | None = None
    factorable: Mapping[str, str] = field(default_factory=dict)
    low_rank: LowRank | None = None

    def write(self, plan: Plan) -> ir.Model:
        """A graph in which every site is as the plan says."""
        kept = {
            group.name: np.sort(self.ranking[group.name][: round(choice.keep * group.units)])
            for site, choice in plan.choices
            if choice.keep < 1.0 and (group := self.groups[site])
        }
        ranks = {self.factorable[site]: choice for site, choice in plan.choices if choice.rank}
        groups = tuple(self.groups.values())
        fitted = self.model
        if self.moments is not None and kept:
            fitted = refit(self.model, groups, kept, self.moments)
        pruned = prune(fitted, groups, kept) if kept else fitted
        if not ranks or self.low_rank is None:
            return pruned if kept else fitted.clone()
        return self.low_rank.write(pruned, ranks, None if kept else self.moments)


@dataclass(frozen=True, slots=True)
class Found:
    """What may change in a graph.

    Attributes:
        sites: Where.
        writer: Writes it.
        skipped: Why channels stay that could have gone, by node.
    """

    sites: tuple[Site, ...]
    writer: SiteWriter
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class SiteFinder:
    """Finds sites in graph after graph.

    Attributes:
        feeds: One sample's inputs.
        multiple: A number of channels that the device's kernels like.
        methods: What may be done.
        ranking: Says which units matter.
        samples: To fit what is left to what goes; none: it stays as it is.
    """

    feeds: Feeds
    multiple: int
    methods: Collection[Method]
    ranking: Ranking
    samples: Samples = ()

    def find(self, model: ir.Model) -> Found:
        """The sites of a graph."""
        seen = annotate(model, reference, self.feeds)
        found = find_groups(seen)
        channels = self._channels(seen, found.groups) if Method.PRUNE in self.methods else {}
        low_rank = LowRank(self.multiple) if Method.LOWRANK in self.methods else None
        fitted = None
        if len(self.samples):
            also = matrices(seen) if low_rank else {}
            fitted = moments_of(model, found.groups, self.samples, reference, also=also)
        ranks = [
            Site(Change.RANK, node, choices, frozenset({node}))
            for node, choices in (low_rank.choices(seen) if low_rank else {}).items()
        ]
        writer = SiteWriter(
            model,
            {site.name: group for site, group in channels.values()},
            self.ranking(model, found.groups) if channels else {},
            fitted,
            {site.name: site.node for site in ranks},
            low_rank,
        )
        skipped = {it.node: it.why for it in found.skipped} if Method.PRUNE in self.methods else {}
        return Found((*(site for site, _ in channels.values()), *ranks), writer, skipped)

    def _channels(
        self, model: ir.Model, groups: Sequence[ChannelGroup]
    ) -> dict[str, tuple[Site, ChannelGroup]]:
        """The groups that may lose channels."""
        found = {}
        for group in groups:
            choices = levels(group, self.multiple)
            if len(choices) > 1:
                site = Site(Change.CHANNELS, group.name, choices, _touched(model, group))
                found[site.name] = site, group
        return found


def channel_multiple(profile: DeviceProfile, precision: Precision) -> int:
    """A number of channels that the device's kernels like; 8 where nobody says."""
    figure = profile.channel_multiple.get(precision)
    return _USUAL if figure is None else int(figure.value)


def levels(group: ChannelGroup, multiple: int) -> tuple[NodeChoice, ...]:
    """How many units of a group may be left, the whole group first.

    Counts are rounded up to the multiple; where the group has few of them, to half of it, and so
    on: kernels are as fast with a few channels fewer, but the next ones shrink with them.
    """
    step = max(1, multiple)
    while step > 1 and group.units < _FEW * step:
        step //= 2
    counts = {-(-int(share * group.units) // step) * step for share in SHARES}
    counts = {count for count in counts if 0 < count < group.units}
    if group.vanishes:
        counts.add(0)
    return tuple(
        NodeChoice(keep=count / group.units) for count in (group.units, *sorted(counts)[::-1])
    )


def _touched(model: ir.Model, group: ChannelGroup) -> frozenset[str]:
    """The nodes that compute with a group's channels."""
    held = {name for name, _, _ in group.tensors}
    nodes = {member.node for member in group.members}
    for node in model.graph:
        if any(value is not None and value.name in held for value in (*node.inputs, *node.outputs)):
            nodes.add(str(node.name))
    return frozenset(nodes)
