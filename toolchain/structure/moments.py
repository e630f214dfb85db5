"""First and second moments of what weights read: all that a least-squares fit depends on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ..accuracy.samples import Samples, each
from ..engine import Array
from ..errors import InputError
from ..observe import OpenRunner, observer
from ..recovery.unfold import Window
from .groups import ChannelGroup, Indices
from .readers import Floats, readers_of

_RIDGE = 1e-3  # of the mean variance, on the diagonal
_FEWEST = 32  # positions of one sample
_TIMES = 4  # so many rows for each entry, over all samples

Place = tuple[str, Window | None]
"""A tensor, and how it is read: in patches, or position by position."""


@dataclass(frozen=True, slots=True)
class ChannelMoments:
    """Moments of what is read at once: channels, or the entries of a patch, channel by channel.

    Attributes:
        mean: Shape (entries,).
        second: Mean products, shape (entries, entries).
    """

    mean: Floats
    second: Floats

    def prediction(self, gone: Indices, left: Indices, *, offset: bool) -> tuple[Floats, Floats]:
        """How entries follow from others: gone = matrix @ left + offset, by least squares.

        Args:
            gone: The entries that go.
            left: Those that stay; there may be none.
            offset: Whether there may be an offset; otherwise it is 0.

        Returns:
            Shapes (gone, left) and (gone,).
        """
        mean = self.mean if offset else np.zeros_like(self.mean)
        own = self.second[np.ix_(left, left)] - mean[left, None] * mean[left]
        ridge = _RIDGE * float(np.trace(own)) / max(1, len(left))
        matrix: Array = np.zeros((len(gone), len(left)))
        if ridge > 0.0:
            own[np.diag_indices_from(own)] += ridge
            cross = self.second[np.ix_(left, gone)] - mean[left, None] * mean[gone]
            matrix = np.linalg.solve(own, cross).T
        return matrix, mean[gone] - matrix @ mean[left]


Moments = Mapping[Place, ChannelMoments]


def moments_of(
    model: ir.Model,
    groups: Sequence[ChannelGroup],
    samples: Samples,
    open_runner: OpenRunner,
    *,
    also: Mapping[str, int] | None = None,
) -> Moments:
    """The moments of all that weights read of some groups.

    Memory does not grow with the samples: it is that of one, and 8 bytes for each pair of entries
    (at most 42 MB for patches). Of each sample some positions are drawn, more of them where there
    are few samples.

    Args:
        model: The graph.
        groups: Its channel groups.
        samples: Inputs; labels are not needed.
        open_runner: Opens a graph.
        also: Other tensors that are asked for, position by position, with the axis of their
            channels.

    Raises:
        InputError: There are no samples, or the graph gives NaN or infinity for one.
    """
    if not len(samples):
        raise InputError("no samples to fit weights to", "give some with --data")
    readers = list(readers_of(model, groups))
    axes: dict[Place, int] = {(name, None): axis for name, axis in (also or {}).items()}
    axes |= {(reader.tensor, reader.window): reader.axis for reader in readers}
    run = observer(model, sorted({name for name, _ in axes}), open_runner)
    sums = {place: _Sums() for place in axes}
    rng = np.random.default_rng(0)
    for sample in each(samples):
        seen = run(sample.feeds)
        for place, axis in axes.items():
            name, window = place
            view = window.windows(seen[name]) if window else np.moveaxis(seen[name], axis, -1)
            sums[place].add(_rows(view, window, len(samples), rng))
    return {place: found.moments(place[0]) for place, found in sums.items()}


@dataclass(slots=True, eq=False)
class _Sums:
    """Sums over the samples so far."""

    count: int = 0
    first: Floats = field(default_factory=lambda: np.zeros(()))
    second: Floats = field(default_factory=lambda: np.zeros(()))

    def add(self, rows: Array) -> None:
        """Take in some rows, shape (positions, entries)."""
        if not self.count:
            self.first = np.zeros(rows.shape[1])
            self.second = np.zeros((rows.shape[1], rows.shape[1]))
        self.count += len(rows)
        self.first += rows.sum(axis=0, dtype=np.float64)
        self.second += rows.T @ rows

    def moments(self, name: str) -> ChannelMoments:
        """The means."""
        if not np.isfinite(self.second).all():
            raise InputError(
                f"tensor {name!r} is NaN or infinite for some sample",
                "check the model and the data: weights cannot be fitted to that",
            )
        count = max(1, self.count)
        return ChannelMoments(self.first / count, self.second / count)


def _rows(view: Array, window: Window | None, samples: int, rng: np.random.Generator) -> Array:
    """Some of the positions of one sample; shape (positions, entries)."""
    tail = 1 if window is None else 1 + len(window.kernel)
    where, entries = view.shape[:-tail], math.prod(view.shape[-tail:])
    total = math.prod(where)
    wanted = max(_FEWEST, -(-_TIMES * entries // samples))
    chosen = np.arange(total)
    if total > wanted:
        chosen = rng.choice(total, wanted, replace=False)
    picked = view[np.unravel_index(chosen, where)] if where else view[None]
    rows: Array = picked.reshape(len(chosen), entries).astype(np.float32, copy=False)
    return rows
