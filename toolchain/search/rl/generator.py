"""Random but realistic search problems: networks, what devices take for them, what it costs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Self

import numpy as np

from ...device import HOST, DeviceProfile, load_profile, profile_names
from ...host import Host
from ...host_profile import host_profile
from ...latency.build_cost import from_profile
from ...latency.cost import CostModel
from ...latency.wiring import Floats
from ...plan import Precision
from ...slots import SlotGraph
from ..problem import Indices, Objective, Problem
from ..typical import typical
from .bounds import Bounds
from .networks import Family, draw_network

Network = tuple[SlotGraph, DeviceProfile]  # as the device's runtime runs it

# Ops that no runtime computes in 8 bits, and what it may do in a half-precision float.
_WEIGHTED = frozenset({"Conv", "Gemm", "MatMul"})
_INT8_MAYBE = (
    *("Add", "Mul", "Sigmoid", "MaxPool", "GlobalAveragePool", "Resize"),
    *("Concat", "Reshape", "Transpose", "Softmax"),
)
_FLOAT_ONLY = ("LayerNormalization", "Gelu")
_ALL = _WEIGHTED | {*_INT8_MAYBE, *_FLOAT_ONLY}

# Spread of each choice's loss around what is typical (sigma of the logarithm), as measured.
_SPREAD: Mapping[Precision, float] = {
    Precision.FP16: 1.1,
    Precision.BF16: 1.1,
    Precision.INT8: 0.2,
    Precision.INT4: 0.9,
}
_SCALE = (-8.0, 2.0)  # mean and sigma of the logarithm, over networks
_SLOT_SPREADS = (0.5, 2.2)  # sigma of the logarithm, over the slots of a network
_DRIFT = 0.7  # along the depth: errors die out in some networks, and add up in others
_NOTHING_SEEN = 0.2  # share of kernels without weights whose loss is below the noise of a sweep

_LIMITED = (
    (Objective.LATENCY,),
    (Objective.SIZE,),
    (Objective.LATENCY, Objective.SIZE),
    (),  # the drop: the objective is the latency
)
_ODDS = (0.7, 0.1, 0.1, 0.1)
_SHARES = (0.02, 0.98)  # of the way from the fastest or smallest plan to the safest
_DECADES = 4.0  # by which a limit on the drop is at most below what the fastest plan drops

# Sigma of the logarithm of what is measured over what is estimated.
_KERNEL_SPREAD = 0.25  # of one kernel in one choice
_CLASS_SPREAD = 0.35  # of all kernels of a class in one choice
_EDGE_SPREAD = 0.2
_BOUNDARY_SPREAD = 0.7  # of all changes of format together


@dataclass(frozen=True, slots=True)
class Generator:
    """Draws problems; equal seeds give equal problems on every machine.

    Attributes:
        profiles: The devices to draw from, each in each of its power modes.
        families: The designs of networks to draw from.
        perturbed: Whether prices differ from the profile's estimates as measured ones do.
    """

    profiles: tuple[DeviceProfile, ...]
    families: tuple[Family, ...] = tuple(Family)
    perturbed: bool = True
    _modes: tuple[DeviceProfile, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        modes = tuple(p.in_mode(m) for p in self.profiles for m in p.power_modes or ("",) if m)
        plain = tuple(p for p in self.profiles if not p.power_modes)
        object.__setattr__(self, "_modes", (*plain, *modes))

    @classmethod
    def of(cls, devices: Sequence[str] = (), families: Sequence[Family] = tuple(Family)) -> Self:
        """Draw from devices by name; from all that come with hwc where none is named.

        The host stands for any processor: one is drawn in its place, so that problems do not
        depend on the machine that draws them.
        """
        names = devices or profile_names()
        known = [load_profile(name) for name in names if name != HOST]
        if HOST in names:
            known += [host_profile(host) for host in _HOSTS]
        return cls(tuple(known), tuple(families))

    def problem(self, seed: int) -> Problem:
        """One problem without limits: the least drop is sought."""
        rng = np.random.default_rng(seed)
        family = self.families[int(rng.integers(len(self.families)))]
        profile = self._modes[int(rng.integers(len(self._modes)))]
        return self._priced((draw_network(rng, family, _offers(rng, profile)), profile), rng)

    def problems(self, seeds: Iterable[int]) -> Iterator[tuple[Problem, np.random.Generator]]:
        """The problem of each seed with random numbers of its own for what is asked of it.

        Those with nothing to trade are left out.
        """
        return _tradable((seed, self.problem(seed)) for seed in seeds)

    def given(
        self, networks: Sequence[Network], seed: int
    ) -> Iterator[tuple[Problem, np.random.Generator]]:
        """As `problems`, of networks that were not drawn: prices and sensitivities are."""
        rngs = ((i, np.random.default_rng((seed, i, 2))) for i in range(len(networks)))
        return _tradable((seed + i, self._priced(networks[i], rng)) for i, rng in rngs)

    def _priced(self, network: Network, rng: np.random.Generator) -> Problem:
        graph, profile = network
        cost = from_profile(graph, profile)
        if self.perturbed:
            cost = perturbed(cost, rng)
        return Problem(cost, _sizes(graph), draw_sensitivity(graph, rng), objective=Objective.DROP)


def _tradable(
    problems: Iterable[tuple[int, Problem]],
) -> Iterator[tuple[Problem, np.random.Generator]]:
    for seed, problem in problems:
        least, most = latency_range(problem)
        if least < most:
            yield problem, np.random.default_rng((seed, 1))


def latency_range(problem: Problem) -> tuple[float, float]:
    """Latency of the fastest plan, and of the one without a drop."""
    fastest = Bounds.of(problem).plans()[0]
    least, most = problem.cost.price(np.stack([fastest, _safest(problem)]))
    return float(least), float(most)


def within_share(problem: Problem, share: float) -> Problem:
    """The same problem with a limit on latency: 0 is the fastest plan, 1 the safest."""
    least, most = latency_range(problem)
    return problem.within(latency_us=least + (most - least) * share)


def draw_limits(problem: Problem, rng: np.random.Generator) -> Problem:
    """The same problem with limits that some plan keeps, and that the safest plan does not.

    Most limit the latency, some the size or both, some ask for the least latency within a drop.
    """
    limited = _LIMITED[int(rng.choice(len(_LIMITED), p=_ODDS))]
    share = float(rng.uniform(*_SHARES))
    bounds = Bounds.of(problem, limited or (Objective.LATENCY,))
    frugal = bounds.plans()[int(rng.integers(bounds.frugal))]
    figures = problem.figures(np.stack([frugal, _safest(problem)]))
    if not limited:
        drop = float(figures[Objective.DROP][0]) * 10.0 ** (-_DECADES * share)
        return replace(problem, objective=Objective.LATENCY).within(drop=drop)
    low, high = np.array([figures[figure] for figure in limited]).T
    limits = dict(zip(limited, (low + share * np.maximum(0.0, high - low)).tolist(), strict=True))
    return problem.within(
        latency_us=limits.get(Objective.LATENCY, inf), size=limits.get(Objective.SIZE, inf)
    )


def _safest(problem: Problem) -> Indices:
    """The choice of each slot that loses least."""
    safest: Indices = np.where(problem.legal, problem.drops, np.inf).argmin(axis=1)
    return safest


def perturbed(cost: CostModel, rng: np.random.Generator) -> CostModel:
    """Prices as a measurement might find them where these were estimated.

    Kernels of a class are off together, kernels by themselves, and so are changes of format.
    """
    slots = cost.graph.slots
    classes = sorted({slot.kind for slot in slots})
    by_class = rng.normal(0.0, _CLASS_SPREAD, (len(classes), cost.node_us.shape[1]))
    rows = [classes.index(slot.kind) for slot in slots]
    alone = rng.normal(0.0, _KERNEL_SPREAD, cost.node_us.shape)
    edges = rng.normal(0.0, _EDGE_SPREAD, cost.boundary_us.shape)
    together = rng.normal(0.0, _BOUNDARY_SPREAD)
    return replace(
        cost,
        node_us=cost.node_us * np.exp(by_class[rows] + alone),
        boundary_us=cost.boundary_us * np.exp(edges + together),
    )


def draw_sensitivity(graph: SlotGraph, rng: np.random.Generator) -> Floats:
    """What each choice of each slot might cost in accuracy; shape (S, K), NaN where there is none.

    Slots, choices and the depth vary around what is typical.
    """
    table = typical(graph)
    count = len(table)
    scale, drift = rng.normal(*_SCALE), rng.normal(0.0, _DRIFT)
    depth = np.linspace(-1.0, 1.0, count)
    slots = rng.normal(0.0, rng.uniform(*_SLOT_SPREADS), count)
    table *= np.exp(scale + drift * depth + slots)[:, None]
    for i, slot in enumerate(graph.slots):
        for k, choice in enumerate(slot.choices):
            table[i, k] *= np.exp(rng.normal(0.0, _SPREAD.get(choice.precision, 0.0)))
        if not slot.work.weights and rng.random() < _NOTHING_SEEN:
            table[i, : len(slot.choices)] = 0.0
    return table


def _offers(rng: np.random.Generator, profile: DeviceProfile) -> Mapping[Precision, frozenset[str]]:
    """Which ops run in which precision: runtimes differ, and users allow what they like."""
    int8 = _WEIGHTED | {op for op in _INT8_MAYBE if rng.random() < 0.7}  # noqa: PLR2004 - a share
    ops = {
        Precision.FP16: _ALL,
        Precision.BF16: _ALL,
        Precision.INT8: int8,
        Precision.INT4: frozenset({"Gemm", "MatMul"}),
    }
    runs = [p for p in ops if p in profile.precisions]
    kept = [p for p in runs if rng.random() < 0.8]  # noqa: PLR2004 - a share
    return {p: ops[p] for p in kept or runs}


def _sizes(graph: SlotGraph) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Bytes of each slot's weights in each choice; shape (S, K)."""
    most = max(len(slot.choices) for slot in graph.slots)
    table = np.zeros((len(graph.slots), most), np.int64)
    for i, slot in enumerate(graph.slots):
        for k, choice in enumerate(slot.choices):
            table[i, k] = slot.work.weights * choice.weight_bits // 8
    return table


def _host(arch: str, cores: int, mhz: float, *isa: str) -> Host:
    return Host(arch, "drawn", cores, cores, mhz, frozenset(isa), {2: 1024, 3: 1024 * 4}, 8.0)


_HOSTS = (
    _host("x86_64", 1, 3000.0, "avx2", "fma"),
    _host("x86_64", 1, 2500.0, "avx2", "fma", "avx512f", "avx512_vnni"),
    _host("x86_64", 4, 3500.0, "avx2", "fma", "avx_vnni"),
    _host("aarch64", 4, 2400.0, "asimd", "asimddp"),
    _host("aarch64", 4, 1500.0, "asimd"),
)
