"""A sum of levels, each of which factorises what those before it left: channel, spatial, refined.

Level 1 makes channels fewer (Tucker-2), level 2 takes the spatial axes apart (rows, then columns),
and every further level refines by components of one pattern each: W = sum of A_i (x) B_i (x) C_i
(CP). It follows the idea of Luo et al. 2022, "HLRTF: Hierarchical Low-Rank Tensor Factorization for
Inverse Problems in Multi-Dimensional Imaging" (CVPR), whose levels are of its own, nonlinear kind,
in closed and alternating least squares. A matrix has no use for it: levels of one kind are one SVD.
"""

from dataclasses import dataclass
from typing import Self

from .cp import Cp
from .factors import Factor, Factorisation, Floats, Form, Method, Ranks
from .spatial import Spatial
from .tucker import Tucker

RATIOS = (0.8, 0.6, 0.4)  # how the levels divide what the whole may cost, in proportion

_Level = Tucker | Spatial | Cp


@dataclass(frozen=True, slots=True, eq=False)
class Hierarchical:
    """One weight.

    Attributes:
        weight: Shape (out, in, height, width).
        levels: What each level would be if it were the first.
        spectra: None: what a level loses depends on those before it.
    """

    weight: Floats
    levels: tuple[_Level, ...]
    spectra: tuple[Floats, ...] = ()
    method: Method = Method.HIERARCHICAL

    @classmethod
    def of(cls, weight: Floats, refinements: int = 1) -> Self:
        """Look at a weight of shape (out, in, height, width), with levels after the spatial one."""
        first: tuple[_Level, ...] = (Tucker.of(weight), Spatial.of(weight))
        return cls(weight, first + (Cp.of(weight),) * refinements)

    @property
    def full(self) -> Ranks:
        """Full ranks of all levels: outputs and inputs, spatial, then one for each refinement."""
        return tuple(rank for level in self.levels for rank in level.full)

    def forms(self, ranks: Ranks) -> tuple[tuple[Form, ...], ...]:
        """What the factors look like; a level of rank 0 is left out."""
        pairs = zip(self.levels, _by_level(ranks), strict=True)
        return tuple(chain for level, own in pairs if all(own) for chain in level.forms(own))

    def truncate(self, ranks: Ranks) -> Factorisation:
        """The factors of given ranks, in the order of `full`; a level of rank 0 is left out."""
        left = self.weight
        chains: list[tuple[Factor, ...]] = []
        for level, own in zip(self.levels, _by_level(ranks), strict=True):
            if all(own):
                made = type(level).of(left).truncate(own)
                left = left - made.weight()
                chains += made.branches
        return Factorisation(self.method, ranks, tuple(chains))


def _by_level(ranks: Ranks) -> tuple[Ranks, ...]:
    out, into, *others = ranks
    return ((out, into), *((rank,) for rank in others))
