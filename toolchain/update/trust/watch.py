"""Cuts off a server that dawdles, wherever in its answer that is.

A socket's timeout begins again with every byte; a line of a header, or the length of a chunk, that
comes byte by byte would keep a device waiting for days.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection

from ..limits import Limits

_CONNECT = 10.0  # seconds


class Watch:
    """Ends an answer that brings less than the least rate; a context manager.

    Attributes:
        got: Bytes that came; the caller counts.
        slow: Whether it was ended.
    """

    def __init__(self, limits: Limits, end: Callable[[], None]) -> None:
        self.got = 0
        self.slow = False
        self._limits = limits
        self._end = end
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        before = 0
        while not self._over.wait(self._limits.patience):
            got = self.got
            if got - before < self._limits.rate * self._limits.patience:
                self.slow = True
                with suppress(OSError, RuntimeError, ValueError):  # it has just ended by itself
                    self._end()
                return
            before = got


def make_pool(limits: Limits) -> PoolManager:
    """Connections on which connecting, and then the head of an answer, may take so long."""
    timeout = Timeout(connect=_CONNECT, read=limits.patience)
    pool = PoolManager(retries=False, timeout=timeout)
    pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pool


@contextmanager
def _deadline(connection: HTTPConnection) -> Iterator[None]:
    """Shut a connection down that has not got the head of an answer within its timeout.

    Raises:
        TimeoutError: It has not; a head that was cut in its middle may look like a whole one.
    """
    place, seconds = connection.sock, connection.timeout
    if place is None or not isinstance(seconds, int | float):
        raise TypeError("a connection without a socket or a timeout")

    late = threading.Event()

    def shut() -> None:
        late.set()
        with suppress(OSError):
            socket.socket.shutdown(place, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError("the head of the answer came too slowly")


class _Http(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as urllib3 has it
        with _deadline(self):
            return super().getresponse()


class _Https(HTTPSConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override] # as urllib3 has it
        with _deadline(self):
            return super().getresponse()


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https
