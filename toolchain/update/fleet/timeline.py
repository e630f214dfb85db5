"""When each device of a fleet gets an update: it asks, fetches over a link that breaks, applies."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .inventory import Device

RECONNECT = 5 / 60  # mean hours until a broken connection is back
LOST = 256 * 1024  # bytes in flight that a cut costs at most: what was written is not fetched again
TRIAL = 2 / 60  # hours to restart and to try the new release
SECONDS = 3600.0

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Update:
    """What each device has to do, by device; shape (n,) each.

    Attributes:
        size: Bytes to fetch.
        seconds: To apply them.
    """

    size: Array
    seconds: Array


@dataclass(frozen=True, slots=True)
class Timeline:
    """What would come of each device if the release were open to it from hour 0; shape (n,) each.

    Attributes:
        windows: Hours of each period in which the device is reachable.
        periods: Hours after which they repeat.
        offset: When its first window begins.
        ask: Hours online until it asks for news.
        fetch: Hours online that fetching takes.
        work: Hours, online or not, to apply and to try.
        wire: Bytes that go over its link.
    """

    windows: Array
    periods: Array
    offset: Array
    ask: Array
    fetch: Array
    work: Array
    wire: Array

    @classmethod
    def draw(
        cls, devices: Sequence[Device], update: Update, power_cuts: float, rng: np.random.Generator
    ) -> "Timeline":
        """Draw what is left to chance.

        Args:
            devices: The fleet.
            update: What each has to do.
            power_cuts: How often an hour a device loses power.
            rng: Source of chance.
        """
        links = [device.link for device in devices]
        n = len(links)
        periods = np.array([link.period for link in links])
        loss = np.array([link.loss for link in links])
        speed = np.array([link.bandwidth for link in links]) * (1 - loss) * SECONDS
        cuts = rng.poisson(np.array([link.cuts for link in links]) * update.size / speed)
        again = rng.uniform(0, LOST, n) * cuts
        apply = update.seconds / SECONDS
        # A power cut loses the application, not what was fetched; the device starts it anew.
        outages = rng.poisson(power_cuts * (apply + TRIAL))
        return cls(
            windows=np.array([link.window for link in links]),
            periods=periods,
            offset=rng.uniform(0, 1, n) * periods,
            ask=rng.uniform(0, 1, n) * np.array([link.poll for link in links]),
            fetch=(update.size + again) / speed + rng.exponential(RECONNECT, n) * cuts,
            work=(apply + TRIAL) * (1 + outages),
            wire=(update.size + again) / (1 - loss),
        )

    def begin(self, opened: float, who: npt.NDArray[np.intp]) -> Array:
        """When these devices ask and begin, if the release is open to them from an hour on."""
        return self._online(np.full(len(who), opened), self.ask[who], who)

    def finish(self, begun: Array, who: npt.NDArray[np.intp]) -> Array:
        """When they have tried it, well or not."""
        finish: Array = self._online(begun, self.fetch[who], who) + self.work[who]
        return finish

    def report(self, finished: Array, who: npt.NDArray[np.intp]) -> Array:
        """When they can tell."""
        return self._online(finished, np.zeros(len(who)), who)

    def _online(self, since: Array, hours: Array, who: npt.NDArray[np.intp]) -> Array:
        """When so many hours online have passed since then."""
        window, period = self.windows[who], self.periods[who]
        cycle, place = np.divmod(since - self.offset[who], period)
        # Outside a window, time stands still until the next begins.
        whole, rest = np.divmod(np.minimum(place, window) + hours, window)
        starts = (cycle + whole) * period + self.offset[who]
        return np.maximum(since, starts + rest)
