"""ONNX Runtime on another machine: what `ort` measures here, measured there."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import onnx_ir as ir

from ..toolchain.engine import Feeds, TimedBuild
from ..toolchain.errors import BackendError, DeviceError, InputError
from ..toolchain.version import __version__
from .agent_frames import Frame
from .agent_messages import Hello, Kind, Order, build_of, error_of, graph_frame, printable
from .ort import timed_build
from .ssh import SSH, Connection
from .ssh_address import Address
from .ssh_fault import LostError

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each new try to connect
LARGEST = (1 << 31) - (1 << 20)  # bytes of weights: a ModelProto holds 2 GiB at most


class RemoteOrt:
    """ONNX Runtime on a device that is reached over ssh.

    A connection that drops is made again, and the request in flight repeated. Nothing stays on the
    device when the block is left.

    Args:
        address: The device.
        ssh: The command that takes OpenSSH's arguments.
        pauses: Seconds before each new try to connect.
    """

    def __init__(
        self, address: Address, *, ssh: Sequence[str] = SSH, pauses: Sequence[float] = PAUSES
    ) -> None:
        self.address = address
        self._ssh = ssh
        self._pauses = pauses
        self._connection: Connection | None = None
        self._hello: Hello | None = None

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            DeviceError: The device cannot be reached, or its key or ours is refused.
            BackendError: Python, hwc or onnxruntime is missing there, or of no use.
        """
        try:
            self._connect()
        except LostError as lost:
            raise lost.error from lost
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hang_up()

    @property
    def hello(self) -> Hello:
        """What is there: the machine, and the versions of its runtime and its hwc."""
        if self._hello is None:
            raise BackendError(f"{self.address}: not connected", "use it in a with block")
        return self._hello

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the connection, a line each."""
        notes = self._connection.notes if self._connection else ()
        if self.hello.hwc == __version__:
            return notes
        return (*notes, f"{self.address}: hwc {self.hello.hwc} there, {__version__} here")

    def time_builds(
        self,
        models: Sequence[ir.Model],
        feeds: Feeds,
        *,
        runs: int,
        threads: int = 1,
        told: Callable[[], None] = lambda: None,
    ) -> list[TimedBuild]:
        """Time several graphs there, kernel by kernel, in turns; see `ort_timing.time_graphs`.

        `told` is called after each turn, of a repeated request after those that are new.

        Raises:
            InputError: A graph is too large to be sent.
            BackendError: The runtime there refuses a graph, or the agent failed.
            DeviceError: The connection was lost, and could not be made again.
        """
        for model in models:
            self._check_size(model)
        order = Order(len(models), feeds, runs, threads)
        turns = _Turns(told)
        pauses = iter(self._pauses)
        while True:
            try:
                return self._request(order, models, turns)
            except LostError as lost:
                pause = next(pauses, None)
                if not lost.passing or pause is None:
                    raise lost.error from lost
                time.sleep(pause)

    def running_graph(self, model: ir.Model, feeds: Feeds) -> ir.Graph:
        """The graph that the runtime there makes of a model; see `time_builds` for its errors."""
        return self.time_builds([model], feeds, runs=1)[0].graph

    def _request(
        self, order: Order, models: Sequence[ir.Model], turns: "_Turns"
    ) -> list[TimedBuild]:
        """One try, on the connection that there is, or a new one."""
        with self._conversation() as connection:
            connection.send(order.frame())
            for model in models:
                connection.send(graph_frame(_whole(model)))
            turns.restart()
            builds = [
                timed_build(build_of(frame, runs=order.runs))
                for frame in self._replies(connection, turns)
            ]
            if len(builds) != len(models):
                raise ValueError(f"{len(builds)} builds of {len(models)} graphs")
        return builds

    def _replies(self, connection: Connection, turns: "_Turns") -> Iterator[Frame]:
        """The builds; of turns it tells, and errors it raises."""
        while (frame := connection.receive()).kind != Kind.DONE:
            if frame.kind == Kind.TURN:
                turns.one_more()
            elif frame.kind == Kind.ERROR:
                message, hint = error_of(frame)
                raise BackendError(f"{self.address}: {message}", hint)
            else:
                yield frame

    @contextmanager
    def _conversation(self) -> Iterator[Connection]:
        """A connection for one request, which the next one gets only if this one ends well."""
        connection = self._connection or self._connect()
        try:
            yield connection
        except ValueError as cause:
            self._hang_up()
            raise BackendError(
                f"{self.address}: its agent sent {printable(str(cause))}",
                f"see whether it is hwc {__version__}: {self.address.install}",
            ) from cause
        except BaseException:  # also Ctrl-C
            self._hang_up()
            raise

    def _connect(self) -> Connection:
        connection = Connection(self.address, self._ssh)
        try:
            hello = connection.hello()
            self._check_same(hello)
        except BaseException:  # also Ctrl-C: no ssh may stay behind
            connection.close()
            raise
        self._connection, self._hello = connection, hello
        return connection

    def _check_same(self, hello: Hello) -> None:
        if self._hello is not None and _identity(hello) != _identity(self._hello):
            raise DeviceError(
                f"{self.address}: another machine or runtime answers than before",
                "name each device by an address of its own",
            )

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _check_size(self, model: ir.Model) -> None:
        weights = (
            value.const_value.nbytes
            for graph in model.graphs()
            for value in graph.initializers.values()
            if value.const_value is not None
        )
        size = sum(weights)
        if size > LARGEST:
            raise InputError(
                f"{self.address}: a graph with {size / 2**30:.1f} GiB of weights cannot be sent; "
                "2 GiB is the most",
                "run hwc on the device itself",
            )


class _Turns:
    """Tells of each turn once, also where a request is repeated."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self._now = self._most = 0

    def restart(self) -> None:
        self._now = 0

    def one_more(self) -> None:
        self._now += 1
        if self._now > self._most:
            self._most = self._now
            self._told()


def _whole(model: ir.Model) -> bytes:
    """A serialised ModelProto that holds all its weights."""
    whole = model.clone()
    ir.external_data.load_to_model(whole)
    data: bytes = ir.to_proto(whole).SerializeToString()
    return data


def _identity(hello: Hello) -> tuple[str, str, str]:
    return hello.host.arch, hello.host.model, hello.version
