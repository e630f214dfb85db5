"""Factors as choices: ranks that a weight may be cut to, and graphs in which it is."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ...passes.factorize import Factorable, factorize, sites
from ...toolchain import kernels
from ...toolchain.engine import Array
from ...toolchain.lowrank.factors import Factorisation, Method
from ...toolchain.lowrank.methods import decompose, factorise, methods_of
from ...toolchain.lowrank.rank import within
from ...toolchain.plan import NodeChoice
from ...toolchain.structure.moments import Moments

_SHARES = (0.75, 0.5, 0.3)  # of the multiply-accumulates, that factors may take
_FEWER = (0.5,)  # of a method beside the first, so that a site has few choices
_FIRST = frozenset({Method.SVD, Method.TUCKER})
_CONV = 4  # axes of the weight of a convolution over a plane
_MATRIX = 2


@dataclass(slots=True, eq=False)
class LowRank:
    """Factors of the weights of one graph after the other; each worked out once.

    Attributes:
        multiple: A number of channels that kernels like.
        known: Factors by weight, moments that they are fitted to, method and ranks.
    """

    multiple: int
    known: dict[tuple[str, str, str, tuple[int, ...]], Factorisation] = field(default_factory=dict)

    def choices(self, model: ir.Model) -> dict[str, tuple[NodeChoice, ...]]:
        """What may be chosen at each node whose weight can be factorised.

        Args:
            model: The graph, with shapes.
        """
        found = {}
        for name, site in sites(model).sites.items():
            offered = tuple(dict.fromkeys((NodeChoice(), *self._offered(site))))
            if len(offered) > 1:
                found[name] = offered
        return found

    def _offered(self, site: Factorable) -> list[NodeChoice]:
        weight, offered = site.weight(), []
        planar = weight.ndim == _CONV and max(weight.shape[2:]) > 1
        for method in methods_of(weight.shape):
            if planar and method is Method.SVD:
                continue  # without the moments of patches it loses more than any other
            whole = decompose(weight, method)
            for share in _SHARES if method in _FIRST else _FEWER:
                ranks = within(whole, site.whole, share, self.multiple)
                if ranks is not None:
                    offered.append(NodeChoice(rank=ranks, factors=method.value))
        return offered

    def write(
        self, model: ir.Model, chosen: Mapping[str, NodeChoice], moments: Moments | None = None
    ) -> ir.Model:
        """A graph with factors at some nodes; one that is no longer there, or too small, stays.

        Args:
            model: The graph; it is not changed.
            chosen: Ranks and method by node.
            moments: Of the tensors that they read, so that least is lost of what they write.
        """
        possible = sites(model, least=0).sites
        made = {
            name: self._factors(possible[name], choice, moments or {})
            for name, choice in chosen.items()
            if name in possible
        }
        return factorize(model, made)

    def _factors(self, site: Factorable, choice: NodeChoice, moments: Moments) -> Factorisation:
        weight, read = site.weight(), site.node.inputs[0]
        second: npt.NDArray[np.float64] | None = None
        found = moments.get((str(read.name), None)) if read is not None else None
        if found is not None and weight.ndim == _MATRIX and len(found.mean) == weight.shape[1]:
            second = found.second
        seen = "" if second is None else _digest(second)
        key = _digest(weight), seen, choice.factors, choice.rank
        if key not in self.known:
            whole = decompose(weight, Method(choice.factors), second)
            ranks = tuple(min(r, f) for r, f in zip(choice.rank, whole.full, strict=True))
            self.known[key] = factorise(whole, ranks, node=str(site.node.name))
        return self.known[key]


def matrices(model: ir.Model) -> dict[str, int]:
    """The activations that constant matrices multiply, with the axis that is summed over."""
    read = {}
    for site in sites(model).sites.values():
        value = site.node.inputs[0]
        if value is not None and site.weight().ndim == _MATRIX and kernels.is_activation(value):
            read[str(value.name)] = len(kernels.dims(value)) - 1
    return read


def _digest(weight: Array) -> str:
    return hashlib.sha256(np.ascontiguousarray(weight).tobytes()).hexdigest()
