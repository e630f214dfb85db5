"""A static web server on the loopback, that can be told to answer oddly."""

import http.server
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

_NONE: Mapping[str, str] = {}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves files with ranges, as a good server does, unless `Server.odd` answers itself."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Server"

    def do_GET(self) -> None:
        """Answer."""
        path, begin = self.server.folder / unquote(self.path).lstrip("/"), self.start()
        self.server.asked.append((self.path, begin))
        data = path.read_bytes() if path.is_file() else None
        try:
            if self.server.odd is not None and data is not None:
                self.server.odd(self, data)
            elif data is None:
                self.reply(404, b"")
            else:
                self.good(data)
        except OSError:  # whoever asked has gone away
            return

    def start(self) -> int:
        """The first byte that is asked for."""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found.group(1)) if found else 0

    def good(self, data: bytes) -> None:
        """As a good server does."""
        if begin := self.start():
            span = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            self.reply(206, data[begin:], {"Content-Range": span})
        else:
            self.reply(200, data)

    def reply(
        self, status: int, data: bytes, headers: Mapping[str, str] = _NONE, *, length: int = -1
    ) -> None:
        """Send an answer whose length may be a lie."""
        self.send_response(status)
        if self.server.odd is not None:
            self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length < 0 else length))
        self.end_headers()
        self.send(data)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.wfile.write(data)
        self.wfile.flush()
        self.server.sent += len(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


Odd = Callable[[Handler, bytes], None]


class Server(http.server.ThreadingHTTPServer):
    """The server.

    Attributes:
        folder: What it serves.
        odd: Answers in its place for files that exist.
        asked: Paths and first bytes of all requests.
        sent: Bytes of all bodies.
        over: Set at the end: whoever dawdles stops.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.odd: Odd | None = None
        self.asked: list[tuple[str, int]] = []
        self.sent = 0
        self.over = threading.Event()

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server that runs."""
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()
