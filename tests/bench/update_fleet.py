"""A fleet of agents on loopback: links that are cut and slow, agents that are killed at any moment.

Run `python tests/bench/update_fleet.py [--devices 50]`. Each device is `hwc update` in a process
of its own, against a web server that cuts one answer in four, and sends some drop by drop. One run
in three ends by kill -9 at a random moment; it is then started again until it is done. Between two
runs, and at the end, every device must have exactly the old or the new release.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from hwc.toolchain.update.content.describe import read_release
from support.tables import markdown, say

HWC = (sys.executable, "-c", "from hwc.tools.cli import main; main()")
WEIGHTS = 60_000
RUNS = 60  # of one device, at most
_PIECE = 1 << 12


class Handler(SimpleHTTPRequestHandler):
    """Serves files; cuts some answers, and dawdles on others."""

    def copyfile(self, source: object, outputfile: object) -> None:
        """Send a file, or a part of it."""
        data: bytes = source.read()  # type: ignore[attr-defined]
        luck = random.random()  # noqa: S311 - a link's luck
        end = random.randrange(len(data) + 1) if luck < 0.25 else len(data)  # noqa: S311
        for at in range(0, end, _PIECE):
            outputfile.write(data[at : min(end, at + _PIECE)])  # type: ignore[attr-defined]
            if luck > 0.9:
                time.sleep(0.02)
        if end < len(data):
            self.close_connection = True
            raise BrokenPipeError

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server whose broken answers are no news."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@dataclass(slots=True)
class Fleet:
    """What the devices come to.

    Attributes:
        folder: Of everything.
        digests: The version of each release, by its digest.
        counts: What happened.
    """

    folder: Path
    digests: Mapping[str, str]
    counts: Counter[str] = field(default_factory=Counter)

    def device(self, number: int, address: str) -> None:
        """Bring one device to the new release, whatever happens on the way."""
        luck, root = random.Random(number), self.folder / f"device{number}"  # noqa: S311
        for _ in range(RUNS):
            kill = luck.uniform(0.2, 1.5) if luck.random() < 1 / 3 else None
            ended = run(("update", "--root-dir", root, "--repo", address, "-q"), kill_after=kill)
            self.counts["killed" if ended == -signal.SIGKILL else f"exit {ended}"] += 1
            version = self.installed(root)
            self.counts[f"found {version}"] += 1
            if ended == 0 and version == "2":
                return
        self.counts["gave up"] += 1

    def installed(self, root: Path) -> str:
        """What a device has after it recovered: a version, or what it should never have."""
        run(("recover", "--root-dir", root))
        try:
            return self.digests.get(read_release(root / "current").digest, "another release")
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not be
            return f"neither: {error!r:.80}"


def run(words: tuple[object, ...], kill_after: float | None = None) -> int:
    """A command of hwc, perhaps killed; its exit code."""
    child = subprocess.Popen(
        [*HWC, *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "HWC_PASSPHRASE": "correct horse"},
    )
    try:
        return child.wait(kill_after)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return child.wait()


def publish(folder: Path, devices: int) -> dict[str, str]:
    """Make a repository, and devices with its first release; then publish the second."""
    repo, keys = folder / "fleet", ("--keys", folder / "keys")
    run(("keys", "new", "--product", "p", *keys))
    run(("repo", "init", repo, "--product", "p", *keys))
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(WEIGHTS).astype(np.float32)
    digests = {}
    for version in ("1", "2"):
        header = b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}'
        text = header % (WEIGHTS, 4 * WEIGHTS)
        path = folder / "model.safetensors"
        path.write_bytes(len(text).to_bytes(8, "little") + text + weights.tobytes())
        run(("publish", path, "--repo", repo, "--version", version, "-q", *keys))
        if version == "1":
            _install(folder, repo, devices)
        weights += np.float32(1e-4) * rng.standard_normal(WEIGHTS).astype(np.float32)
        probe = folder / f"probe{version}"
        trust = ("--trust", repo / "metadata" / "1.root.json", "--health", "none")
        run(("update", "--root-dir", probe, "--repo", repo, "--product", "p", *trust, "-q"))
        digests[read_release(probe / "current").digest] = version
    return digests


def _install(folder: Path, repo: Path, devices: int) -> None:
    first = folder / "device0"
    trust = ("--trust", repo / "metadata" / "1.root.json", "--health", "none")
    run(("update", "--root-dir", first, "--repo", repo, "--product", "p", *trust, "-q"))
    for number in range(1, devices):
        shutil.copytree(first, folder / f"device{number}", symlinks=True)


def main() -> None:
    """Update a fleet, and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--at-once", type=int, default=4, help="[%(default)s]")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hwc-fleet-") as name:
        folder = Path(name)
        digests = publish(folder, asked.devices)
        fleet = Fleet(folder, digests)
        handler = partial(Handler, directory=str(folder / "fleet"))
        with Server(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            address = f"http://127.0.0.1:{server.server_address[1]}"
            with ThreadPoolExecutor(asked.at_once) as pool:
                list(pool.map(lambda number: fleet.device(number, address), range(asked.devices)))
            server.shutdown()
        ends = Counter(fleet.installed(folder / f"device{n}") for n in range(asked.devices))
    say(
        markdown(("what happened", "times"), [(k, str(n)) for k, n in sorted(fleet.counts.items())])
    )
    say(
        markdown(
            ("devices at the end", "count"), [(f"release {k}", str(n)) for k, n in ends.items()]
        )
    )


if __name__ == "__main__":
    main()
