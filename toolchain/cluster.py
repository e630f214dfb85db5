"""A connection to a Ray cluster; the only place that knows Ray is not always installed."""

import subprocess
import sys
from dataclasses import dataclass
from pickle import PicklingError
from types import ModuleType, TracebackType
from typing import Any, Generic, Self, TypeVar

from .errors import UsageError

CONNECT_S = 10.0  # for a cluster to answer
_PROBE = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
except Exception as cause:
    sys.exit(f"{cause}".partition("\\n")[0])
"""

Matter = TypeVar("Matter")


@dataclass(frozen=True, slots=True)
class Shared(Generic[Matter]):
    """An object in the cluster's store: each machine fetches it once.

    Attributes:
        box: The reference to it, in a tuple: so the workers get the reference, and open it once.
    """

    box: tuple[Any]


class Cluster:
    """A connection to a cluster that is running; one a process. Closing it ends its workers.

    Args:
        address: `host:port` of its head, or `auto`: what RAY_ADDRESS names, or runs here. This
            machine has to be one of the cluster's.
        seconds: How long it may take to answer.

    Raises:
        UsageError: Ray is not installed, or no cluster answers there.
    """

    def __init__(self, address: str = "auto", *, seconds: float = CONNECT_S) -> None:
        self.ray = load_ray()
        _probe(address, seconds)
        self.ray.init(address=address, log_to_driver=False, logging_level="CRITICAL")

    @property
    def cpus(self) -> int:
        """How many CPUs it has."""
        return int(self.ray.cluster_resources().get("CPU", 0))

    def share(self, matter: Matter, *modules: ModuleType) -> Shared[Matter]:
        """Put an object into the cluster's store.

        Args:
            matter: It has to be picklable; what goes there is what the user of this machine made.
            modules: Modules that the workers cannot import: what is used of them goes along.

        Raises:
            UsageError: It cannot be sent.
        """
        for module in modules:
            self.ray.cloudpickle.register_pickle_by_value(module)
        try:
            return Shared((self.ray.put(matter),))
        except (TypeError, PicklingError) as cause:
            raise UsageError(
                f"what evaluations need cannot be sent to the cluster: {_first_line(cause)}",
                "leave --ray out",
            ) from cause
        finally:
            for module in modules:
                self.ray.cloudpickle.unregister_pickle_by_value(module)

    def close(self) -> None:
        """End the workers, and the connection."""
        self.ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def load_ray() -> Any:  # noqa: ANN401 - a module that may be missing
    """Ray.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import ray  # noqa: PLC0415 - an extra
        import ray.cloudpickle  # noqa: PLC0415
        import ray.exceptions  # noqa: PLC0415
    except ModuleNotFoundError as cause:
        raise UsageError(
            "a Ray cluster needs Ray, which is not installed", "pip install 'hwc-compiler[ray]'"
        ) from cause
    return ray


def _probe(address: str, seconds: float) -> None:
    """Connect in another process first: where nobody answers, Ray tries for minutes, then exits.

    Raises:
        UsageError: No cluster answers.
    """
    hint = "start one with `ray start --head`, or give its host:port"
    command = [sys.executable, "-c", _PROBE, address]
    try:
        done = subprocess.run(  # noqa: S603 - our own words, and one argument
            command, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as cause:
        raise UsageError(
            f"no Ray cluster answers at '{address}' within {seconds:.0f} s", hint
        ) from cause
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["it ended"])[-1]
        raise UsageError(f"no Ray cluster at '{address}': {why}", hint)


def _first_line(cause: Exception) -> str:
    return str(cause).strip().partition("\n")[0]
