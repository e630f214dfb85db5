"""When the failures of a release are too many: Wilson's lower bound above what is tolerated."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


def lower_bound(failures: int, reports: int, z: float) -> float:
    """The lower end of Wilson's score interval of a failure rate.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22 (1927), 209-212. It holds up near 0, where
    the interval of the textbook (Wald's) says that no release with a failure is known to fail.

    Args:
        failures: Devices that reported a failure.
        reports: Devices that reported at all, at least 1.
        z: Standard deviations; the bound is one-sided.
    """
    rate, z2 = failures / reports, z * z
    centre = rate + z2 / (2 * reports)
    half = z * math.sqrt(rate * (1 - rate) / reports + z2 / (4 * reports * reports))
    return max(0.0, (centre - half) / (1 + z2 / reports))


@dataclass(frozen=True, slots=True)
class StopRule:
    """Stop as soon as the lower bound of the failure rate is above what is tolerated.

    Attributes:
        tolerated: The rate of failures that is declared acceptable, above 0 and below 1.
        z: Of the bound. One look at z = 1.64 stops a release at the tolerated rate in 5 % of all
            rollouts, many looks far more often: `looks.calibrated` finds the z that keeps a promise
            over all of them.
        least: Never stop on fewer failures: the first device's accident says nothing of a fleet.
    """

    tolerated: float
    z: float
    least: int

    def stops(self, failures: int, reports: int) -> bool:
        """Whether the rollout is to stop now."""
        if failures < self.least:
            return False
        return lower_bound(failures, reports, self.z) > self.tolerated

    def critical(self, reports: Counts) -> Counts:
        """The least number of failures that stops, for each number of reports.

        Wilson's interval is the inverted score test: its lower end is above p0 exactly where
        failures > n p0 + z sqrt(n p0 (1 - p0)).
        """
        p0 = self.tolerated
        edge = reports * p0 + self.z * np.sqrt(reports * (p0 * (1 - p0)))
        critical: Counts = np.maximum(np.floor(edge).astype(np.int64) + 1, self.least)
        return critical
