"""Fits the few parameters of the estimator for a family of devices, and tests them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from ...toolchain.device import Confidence, DeviceProfile, Figure, load_profile
from ...toolchain.latency.estimate import load, rates
from ...toolchain.latency.roofline import Load, Rates, kernel_us
from .rows import Row

Array = npt.NDArray[np.float64]
_T = TypeVar("_T", Load, Rates)

REFERENCE_MHZ = 1000.0  # the clock that a fitted launch cost is for
NOISE = 0.2  # natural logarithm: how far one published figure strays for reasons of its own
_STEP = 0.03  # of the derivatives: waves are steps, so a finer one sees nothing
# Grains to start from, since the steps make several minima.
_STARTS = (1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0)


@dataclass(frozen=True, slots=True)
class Prior:
    """What a parameter is without data, and how far data may easily pull it.

    Attributes:
        typical: Its typical value.
        spread: One standard deviation of its natural logarithm.
        most: The largest that makes sense.
    """

    typical: float
    spread: float
    most: float = np.inf


# A tile of 64 x 128 outputs is a usual one.
PRIORS: Mapping[str, Prior] = {
    "launch": Prior(5.0, 1.0),  # microseconds at REFERENCE_MHZ
    "grain": Prior(8192.0, 1.0),
    "conv": Prior(0.5, 0.3, 1.0),
    "gemm": Prior(0.6, 0.3, 1.0),
    "depthwise": Prior(0.03, 1.0, 1.0),
    "memory": Prior(0.8, 0.2, 1.0),
    "sparse_2_4": Prior(1.0, 0.3, 2.0),
    "in_python": Prior(1000.0, 1.0),  # microseconds that a Python library adds to a published time
}

Parameters = Mapping[str, float]


class Samples:
    """Rows of one family of devices, with all their kernels as arrays."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        self.published = np.array([row.us for row in rows])
        self._in_python = np.array([row.in_python for row in rows], np.float64)
        devices = {(row.device, row.mode): row for row in rows}
        ideal = {key: _ideal(profile_of(row)) for key, row in devices.items()}
        profiles = [ideal[row.device, row.mode] for row in rows]
        lines = [
            (index, kernel, row.sparse and kernel.work.weights > 0, count)
            for index, row in enumerate(rows)
            for kernel, count in row.kernels.items()
        ]
        self._row = np.array([index for index, *_ in lines], np.intp)
        self._count = np.array([count for *_, count in lines], np.float64)
        self._kind = np.array([kernel.kind for _, kernel, *_ in lines])
        self._sparse = np.array([sparse for *_, sparse, _ in lines])
        self._load = _stacked(
            Load, [load(k.work, rows[i].precision, sparse=sparse) for i, k, sparse, _ in lines]
        )
        self._rates = _stacked(
            Rates, [rates(k.kind, rows[i].precision, profiles[i]) for i, k, *_ in lines]
        )

    def predict(self, parameters: Parameters) -> Array:
        """The time of every row, in microseconds."""
        reached = np.ones(len(self._kind))
        for kind, efficiency in efficiencies(parameters).items():
            reached[self._kind == kind] = efficiency
        reached[self._sparse] *= parameters["sparse_2_4"]
        fitted = replace(
            self._rates,
            launch=self._rates.launch * parameters["launch"],
            compute=self._rates.compute * reached,
            grain=parameters["grain"],
            memory=self._rates.memory * parameters["memory"],
        )
        each = self._count * kernel_us(self._load, fitted)
        total = np.bincount(self._row, weights=each, minlength=len(self.rows))
        return np.asarray(total, np.float64) + self._in_python * parameters["in_python"]


def efficiencies(parameters: Parameters) -> dict[str, float]:
    """The fraction of the peak that each class of kernels reaches."""
    return {kind: parameters[kind] for kind in ("conv", "depthwise", "gemm")}


def launch_us(parameters: Parameters, profile: DeviceProfile) -> float:
    """What starting a kernel costs on one device: it goes with the clock."""
    mhz = profile.clock.value if profile.clock else REFERENCE_MHZ
    return parameters["launch"] * REFERENCE_MHZ / mhz


def profile_of(row: Row) -> DeviceProfile:
    """The device of a row, in the power mode of the measurement."""
    profile = load_profile(row.device)
    return profile.in_mode(row.mode) if row.mode else profile


def fit(rows: Sequence[Row], *, noise: float = NOISE) -> Parameters:
    """The parameters that explain the rows best; one that they say nothing about keeps its prior.

    Robust least squares of the logarithm of predicted over published, and of how far the parameters
    are from their priors.

    Args:
        rows: Rows of one family of devices.
        noise: How far the logarithm of one published time strays for reasons of its own.
    """
    samples = Samples(rows)
    names = tuple(PRIORS)
    typical = np.log([PRIORS[name].typical for name in names])
    spread = np.array([PRIORS[name].spread for name in names])
    most = np.log([PRIORS[name].most for name in names])

    def residuals(x: Array) -> Array:
        predicted = samples.predict(dict(zip(names, np.exp(x), strict=True)))
        error = np.log(predicted / samples.published) / noise
        robust = np.sign(error) * np.sqrt(np.log1p(error**2))  # Cauchy: strays do not rule
        return np.concatenate([robust, (x - typical) / spread])

    found = [
        least_squares(
            residuals,
            np.where(np.array(names) == "grain", np.log(grain), typical),
            jac=lambda x: _slopes(residuals, x),
            bounds=(-np.inf, most),
            xtol=1e-3,
            ftol=1e-4,
            max_nfev=30,
        )
        for grain in _STARTS
    ]
    best = min(found, key=lambda result: float(result.cost)).x
    return dict(zip(names, map(float, np.exp(best)), strict=True))


@dataclass(frozen=True, slots=True)
class Foretold:
    """A published time, and the one that a fit predicts."""

    row: Row
    us: float

    @property
    def ratio(self) -> float:
        """Published over predicted."""
        return self.row.us / self.us


def leave_one_out(rows: Sequence[Row], group: Callable[[str], str]) -> list[Foretold]:
    """Predict each group of models by a fit on all the others.

    Args:
        rows: Rows of one family of devices.
        group: From a model to what is left out together with it.
    """
    found = []
    for left_out in dict.fromkeys(group(row.model) for row in rows):
        parameters = fit([row for row in rows if group(row.model) != left_out])
        found += foretell([row for row in rows if group(row.model) == left_out], parameters)
    return found


def foretell(rows: Sequence[Row], parameters: Parameters) -> list[Foretold]:
    """Predict some rows."""
    predicted = Samples(rows).predict(parameters)
    return [Foretold(row, float(us)) for row, us in zip(rows, predicted, strict=True)]


def _slopes(function: Callable[[Array], Array], x: Array) -> Array:
    """Central differences, wide enough to see past the steps of the waves."""
    steps = _STEP * np.eye(len(x))
    columns = [(function(x + step) - function(x - step)) / (2 * _STEP) for step in steps]
    return np.stack(columns, axis=1)


def _ideal(profile: DeviceProfile) -> DeviceProfile:
    """The device as its data sheet has it, and 1 where a parameter of the fit belongs."""
    one = Figure(1.0, "", Confidence.DERIVED)
    everything = dict.fromkeys((*efficiencies(dict.fromkeys(PRIORS, 1.0)), "memory", "other"), one)
    launch = Figure(launch_us({"launch": 1.0}, profile), "", Confidence.DERIVED)
    return replace(profile, efficiency=everything, launch=launch)


def _stacked(kind: type[_T], items: Iterable[_T]) -> _T:
    """One object whose fields are the arrays of the fields of many."""
    columns = zip(*(astuple(item) for item in items), strict=True)
    return kind(*map(np.array, columns))
