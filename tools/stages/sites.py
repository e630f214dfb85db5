"""Where the structure of a graph may change, and graphs in which it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ...passes.prune import prune
from ...toolchain.accuracy.samples import Samples
from ...toolchain.device import DeviceProfile
from ...toolchain.engine import Feeds
from ...toolchain.observe import annotate
from ...toolchain.plan import NodeChoice, Plan, Precision
from ...toolchain.structure.compensate import Moments, moments_of, refit
from ...toolchain.structure.find_groups import find_groups
from ...toolchain.structure.groups import ChannelGroup, Indices
from ...toolchain.structure.site import Change, Site
from .decide import reference
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
    """

    model: ir.Model
    groups: Mapping[str, ChannelGroup]
    ranking: Mapping[str, Indices]
    moments: Moments | None = None

    def write(self, plan: Plan) -> ir.Model:
        """A graph in which every site is as the plan says."""
        kept = {
            group.name: np.sort(self.ranking[group.name][: round(choice.keep * group.units)])
            for site, choice in plan.choices
            if choice.keep < 1.0 and (group := self.groups[site])
        }
        groups = tuple(self.groups.values())
        fitted = self.model
        if self.moments is not None and kept:
            fitted = refit(self.model, groups, kept, self.moments)
        return prune(fitted, groups, kept)


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
        ranking: Says which units matter.
        samples: To fit what is left to what goes; none: it stays as it is.
    """

    feeds: Feeds
    multiple: int
    ranking: Ranking
    samples: Samples = ()

    def find(self, model: ir.Model) -> Found:
        """The sites of a graph."""
        seen = annotate(model, reference, self.feeds)
        found = find_groups(seen)
        sites = {}
        for group in found.groups:
            choices = levels(group, self.multiple)
            if len(choices) > 1:
                site = Site(Change.CHANNELS, group.name, choices, _touched(seen, group))
                sites[site.name] = site, group
        writer = SiteWriter(
            model,
            {name: group for name, (_, group) in sites.items()},
            self.ranking(seen, found.groups),
            moments_of(seen, found.groups, self.samples, reference) if self.samples else None,
        )
        skipped = {it.node: it.why for it in found.skipped}
        return Found(tuple(site for site, _ in sites.values()), writer, skipped)


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
