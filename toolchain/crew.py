"""Workers on a cluster: tasks are shared out among them, and none is lost with a worker.

Only evaluations of plans go there. Learning explorers play their episodes in this process, in
numpy, at some hundred thousand steps a second: a step takes less time than the message that would
ask another machine for it.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .cluster import Cluster, Shared, load_ray
from .errors import BackendError, HwcError, UsageError
from .version import __version__

START_S = 120.0  # for the first worker to start
TRIES = 3  # workers that one task may lose; starts of workers that may fail in a row

Matter = TypeVar("Matter")
Task = TypeVar("Task")
Result = TypeVar("Result")
Work = Callable[[Matter, Task], Result]


class Crew(Generic[Matter, Task, Result]):
    """Workers on a cluster that all do the same work, a CPU each.

    A task whose worker dies is given to another one, and a new worker is started where there is
    room. Every task is answered once.

    Args:
        cluster: Where they are.
        make: Called in every worker once; what it returns does a task. It travels, so it has to be
            picklable, and hwc has to be installed on every machine, in this version.
        told: Told of workers that were lost.
        workers: How many there are; None: as many as CPUs.
    """

    def __init__(
        self,
        cluster: Cluster,
        make: Callable[[], Work[Matter, Task, Result]],
        *,
        told: Callable[[str], None] = lambda _: None,
        workers: int | None = None,
    ) -> None:
        self.cluster = cluster
        self._ray = cluster.ray
        self._make = cluster.share(make)
        self._told = told
        self._remote = self._ray.remote(num_cpus=1)(_Worker)
        self._idle: list[Any] = []
        self._away: dict[Any, Any] = {}  # workers that start, or end what nobody waits for
        self._false_starts = 0
        for _ in range(workers or max(1, cluster.cpus)):
            self._hire()

    def each(self, matter: Shared[Matter], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """Do all tasks; each result with the number of its task, as they come.

        Raises:
            HwcError: What a task raised.
            BackendError: No worker starts, or one task loses several.
        """
        waiting = deque(range(len(tasks)))
        running: dict[Any, tuple[Any, int]] = {}
        lost = Counter[int]()
        try:
            while waiting or running:
                while waiting and self._idle:
                    worker, number = self._idle.pop(), waiting.popleft()
                    running[worker.do.remote(matter.box, tasks[number])] = worker, number
                reply = self._next(running)
                if reply not in running:
                    self._back(reply)
                    continue
                worker, number = running.pop(reply)
                try:
                    result = self._ray.get(reply)
                except self._losses as cause:
                    lost[number] += 1
                    self._mourn(worker, lost[number], cause)
                    waiting.appendleft(number)
                    continue
                self._idle.append(worker)
                if isinstance(result, _Failed):
                    raise result.error
                yield number, result
        finally:
            self._away |= {reply: worker for reply, (worker, _) in running.items()}

    def close(self) -> None:
        """End the workers, so that others can have their CPUs."""
        for worker in (*self._idle, *self._away.values()):
            self._ray.kill(worker)
        self._idle, self._away = [], {}

    @property
    def _losses(self) -> tuple[type[Exception], ...]:
        """What is raised where a worker, or what it gave, is gone."""
        errors = self._ray.exceptions
        return (
            *(errors.RayActorError, errors.WorkerCrashedError, errors.NodeDiedError),
            *(errors.ObjectLostError, errors.OutOfMemoryError),
        )

    def _hire(self) -> None:
        worker = self._remote.remote(self._make.box, __version__)
        self._away[worker.ready.remote()] = worker

    def _next(self, running: dict[Any, tuple[Any, int]]) -> Any:  # noqa: ANN401 - Ray's reference
        """The next reply of anybody."""
        replies = [*running, *self._away]
        done, _ = self._ray.wait(replies, timeout=None if running else START_S)
        if not done:
            raise BackendError(
                f"no worker of the Ray cluster was free within {START_S:.0f} s",
                "other jobs may hold its CPUs: see `ray status`",
            )
        return done[0]

    def _back(self, reply: Any) -> None:  # noqa: ANN401 - Ray's reference
        """Count a worker in that has started, or has ended what nobody waits for."""
        worker = self._away.pop(reply)
        try:
            self._ray.get(reply)
        except self._losses as cause:
            self._false_starts += 1
            if self._false_starts < TRIES:
                self._hire()
            elif not (self._away or self._idle):
                raise BackendError(
                    f"no worker of the Ray cluster starts: {_last_line(cause)}",
                    f"install hwc-compiler[ray] {__version__} on all of its machines",
                ) from cause
        else:
            self._false_starts = 0
            self._idle.append(worker)

    def _mourn(self, worker: Any, count: int, cause: Exception) -> None:  # noqa: ANN401 - Ray's handle
        """Replace a lost worker.

        Raises:
            BackendError: It is one too many for a task.
        """
        self._ray.kill(worker)  # it may be out of reach only
        self._hire()
        if count >= TRIES:
            raise BackendError(
                f"{count} workers of the Ray cluster were lost over one plan: {_last_line(cause)}",
                "see `ray status` and the memory of its machines",
            ) from cause
        self._told("a worker of the Ray cluster was lost: another one takes its plan")


@dataclass(frozen=True, slots=True)
class _Failed:
    """The answer to a task that raised."""

    error: HwcError


class _Worker(Generic[Matter, Task, Result]):
    """What runs in a process of the cluster; boxes are of `Shared`."""

    def __init__(self, make: tuple[Any], version: str) -> None:
        if version != __version__:
            raise UsageError(f"hwc {__version__} here, {version} where the search runs")
        self._ray = load_ray()
        self._work: Work[Matter, Task, Result] = self._ray.get(make[0])()
        self._open: tuple[str, Any] = "", None

    def ready(self) -> None:
        """Say that it has started."""

    def do(self, box: tuple[Any], task: Task) -> Result | _Failed:
        """Do a task; what it is done with stays open for the next one."""
        key = box[0].hex()
        if self._open[0] != key:
            self._open = key, self._ray.get(box[0])
        try:
            return self._work(self._open[1], task)
        except HwcError as error:
            return _Failed(error)


def _last_line(cause: Exception) -> str:
    return str(cause).strip().rpartition("\n")[2]
