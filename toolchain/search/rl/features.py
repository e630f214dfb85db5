"""What a policy sees of a problem before the first choice: arrays that no model's size shows in."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...latency.wiring import FORMATS
from ..problem import Floats, Problem

FEATURES_VERSION = 1  # a policy file names the version that it was trained on
K_MAX = 8  # choices a slot may have
LIMIT = 8.0  # no feature is further from 0

KINDS = ("conv", "depthwise", "gemm", "elementwise", "norm", "pool", "move", "recurrent", "other")
_NAMES = tuple(str(f) for f in FORMATS)
SLOT_COLUMNS = (
    *(f"kind_{kind}" for kind in KINDS),
    "log_macs",
    "log_weights",
    "log_reads",
    "log_writes",
    "log_reuse",  # multiply-accumulates a weight: the places that a kernel is applied at
    "log_fan_in",  # multiply-accumulates an output: kernel area times channels of a group
    "log_shrink",  # elements read for each written: the stride
    "macs_share",  # these three: of the whole model, 1 is the mean of a slot
    "weights_share",
    "time_share",
    "position",
    "readers",
    "producers",
    "reads_input",
    "writes_output",
    "fixed_choice",
    "log_slots",  # from here on the same for every slot: the device and the model
    *(f"log_ratio_{name}" for name in _NAMES[1:]),
    "conversion_share",
    "sensitivities_known",
)
CHOICE_COLUMNS = (
    "exists",
    *(f"format_{name}" for name in _NAMES),
    "weight_bits",
    "activation_bits",
    "log_time",  # relative to fp32
    "log_saving",  # time saved against fp32, where the slot's fair share of fp32's time is 1
    "saves",
    "log_size",  # relative to fp32
    "size_share",
    "log_sensitivity",  # where the mean of all choices but fp32 is 1
    "sensitivity_known",
    "sqnr",  # decibels / 64
    "sqnr_known",
)
TIME_COLUMNS = (  # log(1 + microseconds over the slot's fair share of the budget)
    "time",
    *(f"from_{name}" for name in _NAMES),  # conversions, were all producers in this format
    *(f"into_{name}" for name in _NAMES),  # conversions, did all readers want this format
)

_TINY = 1e-12
_MOST_TIME = 1e6  # of the mean slot; far beyond where the features saturate

Features32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """S slots of up to K_MAX choices; absent choices are rows of zeros.

    Attributes:
        slots: Columns as in SLOT_COLUMNS; shape (S, D).
        choices: Columns as in CHOICE_COLUMNS; shape (S, K_MAX, C).
        times: Columns as in TIME_COLUMNS, but microseconds over the mean time of a slot in fp32;
            shape (S, K_MAX, T). `timed` makes features of them.
        fp32_us: The time of the model in fp32.
    """

    slots: Features32
    choices: Features32
    times: Features32
    fp32_us: float

    @classmethod
    def of(cls, problem: Problem, *, sqnr: Floats | None = None) -> "Features":
        """Look at a problem.

        Args:
            problem: Tables, sensitivities and wiring; its limits are not looked at.
            sqnr: Signal to quantisation noise of each choice in decibels, NaN where not known;
                shape (S, K).

        Raises:
            ValueError: A slot has more than K_MAX choices.
        """
        columns = problem.cost.node_us.shape[1]
        if columns > K_MAX:
            raise ValueError(f"{columns} choices for a slot: a policy sees up to {K_MAX}")
        fp32_us = float(problem.cost.price(np.zeros((1, len(problem.graph.slots)), np.intp))[0])
        unit = max(fp32_us, _TINY) / max(1, len(problem.graph.slots))
        times = _times(problem) / unit
        choices = np.concatenate(list(_choices(problem, unit, sqnr)), axis=2)
        legal = problem.legal[..., None]
        return cls(
            _slots(problem, unit),
            _padded(np.where(legal, choices, 0.0)),
            _padded(np.where(legal, times, 0.0), _MOST_TIME),
            fp32_us,
        )

    def timed(self, limit_us: float) -> Features32:
        """All columns of the choices, TIME_COLUMNS last, under a budget; (S, K_MAX, C + T)."""
        return np.concatenate([self.choices, log_times(self.times, self.fp32_us / limit_us)], 2)


def log_times(times: Features32, scale: npt.ArrayLike) -> Features32:
    """Microseconds over fp32's share as features under a budget of fp32's time / scale."""
    capped: Features32 = np.minimum(np.log1p(times * np.asarray(scale, np.float32)), LIMIT)
    return capped


def _padded(array: Floats, most: float = LIMIT) -> Features32:
    """Finite 32-bit features with K_MAX choices; (S, K, C) to (S, K_MAX, C)."""
    low, high = np.float32(-LIMIT), np.float32(most)
    padded = np.zeros((len(array), K_MAX, array.shape[2]), np.float32)
    padded[:, : array.shape[1]] = np.clip(np.nan_to_num(array), low, high)
    return padded


def _slots(problem: Problem, unit: float) -> Features32:
    graph, wiring = problem.graph, problem.cost.wiring
    count = len(graph.slots)
    works = [(s.work.macs, s.work.weights, s.work.reads, s.work.writes) for s in graph.slots]
    work = np.array(works, float).reshape(count, 4)
    macs, weights, reads, writes = work.T
    kinds = [KINDS.index(s.kind) if s.kind in KINDS else len(KINDS) - 1 for s in graph.slots]
    own = wiring.readers < count
    inside = wiring.producers < count
    readers = np.bincount(wiring.producers[wiring.owners[own]], minlength=count + 1)
    producers = np.bincount(
        wiring.readers[own], inside[wiring.owners[own]].astype(float), minlength=count
    )
    inputs = np.bincount(wiring.readers[own], ~inside[wiring.owners[own]], minlength=count)
    outputs = np.bincount(wiring.producers[wiring.owners[~own]], minlength=count + 1)
    columns = [
        *np.eye(len(KINDS))[kinds].reshape(count, len(KINDS)).T,
        *np.log1p(work.T) / 12.0,
        np.log1p(macs / np.maximum(weights, 1.0)) / 4.0,
        np.log1p(macs / np.maximum(writes, 1.0)) / 4.0,
        np.log(np.maximum(reads, 1.0) / np.maximum(writes, 1.0)) / 2.0,
        np.log1p(_shares(macs)),
        np.log1p(_shares(weights)),
        np.log1p(np.maximum(problem.cost.node_us[:, 0], 0.0) / unit),
        np.arange(count) / max(1, count - 1),
        np.log1p(readers[:count]),
        np.log1p(producers[:count]),
        inputs > 0,
        outputs[:count] > 0,
        problem.legal.sum(axis=1) == 1,
        *np.repeat(_device(problem, unit)[:, None], count, axis=1),
    ]
    features = np.stack([np.asarray(column, float) for column in columns], axis=1)
    clipped: Features32 = np.clip(np.nan_to_num(features), -LIMIT, LIMIT).astype(np.float32)
    return clipped


def _device(problem: Problem, unit: float) -> Floats:
    """What is the same for every slot."""
    us, formats = problem.cost.node_us, problem.cost.wiring.formats
    count = len(us)
    legal = problem.legal
    fp32 = np.where(legal[:, :1], us[:, :1], 0.0)[:, 0] if count else np.zeros(0)
    ratios = []
    for f in range(1, len(FORMATS)):
        own = np.where(legal & (formats == f), us, np.inf).min(axis=1, initial=np.inf)
        whole = np.where(np.isfinite(own), own, fp32).sum()
        ratios.append(np.log(max(float(whole), _TINY) / max(float(fp32.sum()), _TINY)))
    conversions = float(problem.cost.boundary_us.mean()) if problem.cost.boundary_us.size else 0.0
    known = problem.sensitivity is not None
    return np.array([np.log(max(1, count)) / 4.0, *ratios, np.log1p(conversions / unit), known])


def _choices(problem: Problem, unit: float, sqnr: Floats | None) -> tuple[Floats, ...]:
    us, formats = problem.cost.node_us, problem.cost.wiring.formats
    bits = np.zeros((*us.shape, 2))
    for s, slot in enumerate(problem.graph.slots):
        for k, choice in enumerate(slot.choices):
            precision = choice.precision
            bits[s, k] = precision.weight_bits / 32.0, precision.activation_bits / 32.0
    saved = us[:, :1] - us
    sizes = problem.sizes.astype(float)
    known = problem.sensitivity is not None
    noise = np.full(us.shape, np.nan) if sqnr is None else sqnr
    columns = (
        np.ones(us.shape),
        bits[..., 0],
        bits[..., 1],
        np.log(np.maximum(us, _TINY) / np.maximum(us[:, :1], _TINY)),
        np.log(np.maximum(saved / unit, 1e-4)) / 2.0,
        saved > 0.0,
        np.log((sizes + 1.0) / (sizes[:, :1] + 1.0)),
        np.log1p(sizes / max(float(sizes[:, :1].sum()) / max(1, len(us)), 1.0)),
        log_sensitivity(problem),
        np.full(us.shape, known),
        np.nan_to_num(noise) / 64.0,
        np.isfinite(noise),
    )
    exists, *rest = (np.asarray(column, float)[..., None] for column in columns)
    return exists, np.eye(len(FORMATS))[formats], *rest


def log_sensitivity(problem: Problem) -> Floats:
    """Logarithm of each sensitivity over the mean of all choices but fp32, over 2; (S, K)."""
    if problem.sensitivity is None:
        return np.zeros(problem.cost.node_us.shape)
    others = problem.legal.copy()
    others[:, 0] = False
    mean = float(problem.drops[others].mean()) if others.any() else 0.0
    drops = np.where(problem.legal, problem.drops, 0.0)
    return np.log(np.maximum(drops / max(mean, _TINY), 1e-4)) / 2.0


def _times(problem: Problem) -> Floats:
    """Microseconds as in TIME_COLUMNS; shape (S, K, T)."""
    us, wiring = problem.cost.node_us, problem.cost.wiring
    count, shape = len(us), (len(us) + 1, len(FORMATS), len(FORMATS))
    conversions = problem.cost.boundary_us[wiring.edges] * (1.0 - np.eye(len(FORMATS)))
    incoming, outgoing = np.zeros(shape), np.zeros(shape)  # [slot, own format, other format]
    np.add.at(incoming, wiring.readers, conversions[wiring.owners].transpose(0, 2, 1))
    np.add.at(outgoing, wiring.producers, conversions)
    slots = np.arange(count)[:, None]
    tables = (incoming[slots, wiring.formats], outgoing[slots, wiring.formats])
    return np.concatenate([np.where(np.isfinite(us), us, 0.0)[..., None], *tables], axis=2)


def _shares(figures: Floats) -> Floats:
    """Figures over their mean."""
    mean = float(figures.mean()) if len(figures) else 0.0
    return figures / max(mean, _TINY)
