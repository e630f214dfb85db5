"""The agent, as a process of its own: what it answers, what it refuses, and how it ends."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir
import pytest
from hwc.backends import ort
from hwc.backends.agent_frames import MARK, Frame, read, write
from hwc.backends.agent_messages import (
    REPLY_LIMITS,
    Hello,
    Kind,
    Order,
    build_of,
    error_of,
    graph_frame,
)
from hwc.backends.ort import timed_build

if TYPE_CHECKING:
    from hwc.tests.conftest import Subject

PATIENCE = 30  # seconds
RUNS = 3
NET = """<ir_version: 10, opset_import: ["" : 21]> g (float[1,3,16,16] x) => (float[1,8,16,16] y)
<float[8,3,3,3] w1, float[8] b1, float[8,8,3,3] w2>
{
    [conv1] c1 = Conv <pads = [1,1,1,1]> (x, w1, b1)
    [relu1] r1 = Relu (c1)
    [conv2] y = Conv <pads = [1,1,1,1]> (r1, w2)
}"""
# A device has numpy and onnxruntime, and nothing else that hwc needs elsewhere.
BARE = """
import runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
runpy.run_module("hwc.backends.ort_agent", run_name="__main__")
"""
ABSENT = {
    *("onnx", "onnx_ir", "onnxscript", "onnx_graphsurgeon", "click", "rich", "scipy", "yaml"),
    *("platformdirs", "PIL", "torch", "ml_dtypes"),
}


class Talk:
    """A conversation with an agent."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert isinstance(process.stdout, io.BufferedReader)
        self.process, self.requests, self.replies = process, process.stdin, process.stdout

    def say(self, *frames: Frame) -> None:
        """Send messages."""
        for frame in frames:
            write(self.requests, frame)
        self.requests.flush()

    def hear(self) -> Frame:
        """The next message."""
        frame = read(self.replies, REPLY_LIMITS)
        assert frame is not None, self.process.communicate()[1]
        return frame

    def hear_all(self) -> list[Frame]:
        """The messages up to the end of an answer."""
        frames = [self.hear()]
        while frames[-1].kind not in {Kind.DONE, Kind.ERROR}:
            frames.append(self.hear())
        return frames

    def end(self) -> int:
        """Wait for the agent's end; its exit code."""
        if not self.replies.closed:
            self.replies.read()  # or it would wait for somebody to listen
        return self.process.wait(PATIENCE)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Talk]:
    """An agent on a bare device, whose temporary files lie in `tmp_path`; nothing may stay."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "ORT_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", BARE.format(absent=ABSENT)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, cwd=tmp_path
    ) as process:
        talk = Talk(process)
        assert Hello.of(talk.hear()).python
        yield talk
        talk.requests.close()
        talk.end()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def net(subject: Callable[..., "Subject"]) -> "Subject":
    return subject(NET)


def order(net: "Subject", graphs: int = 1, runs: int = RUNS) -> Frame:
    """A request to time some graphs."""
    return Order(graphs, net.samples[0], runs, 1).frame()


def graph(model: ir.Model) -> Frame:
    """A graph as a message."""
    return graph_frame(ir.to_proto(model).SerializeToString())


def frame_of(header: bytes) -> bytes:
    """A header as it lies on the wire."""
    return MARK + len(header).to_bytes(4, "big") + header


def wire(*frames: Frame) -> bytes:
    """Messages as they lie on the wire."""
    stream = io.BytesIO()
    for frame in frames:
        write(stream, frame)
    return stream.getvalue()


def test_a_bare_device_times_graphs_as_this_machine_does(agent: Talk, net: "Subject") -> None:
    models = [net.model, net.writer.write(net.plan(every="int8"))]
    agent.say(order(net, 2), *map(graph, models))
    *turns, first, second, done = agent.hear_all()
    assert [turn.kind for turn in turns] == [Kind.TURN] * RUNS
    assert done.kind == Kind.DONE
    here = ort.time_builds(models, net.samples[0], runs=RUNS)
    for frame, near in zip((first, second), here, strict=True):
        far = timed_build(build_of(frame, runs=RUNS))
        assert [k.op for k in far.kernels] == [k.op for k in near.kernels]
        assert len(frame.parts[0]) < 10_000  # the graph, and not its weights


def test_it_ends_well_when_nothing_more_is_asked(agent: Talk, net: "Subject") -> None:
    agent.say(order(net), graph(net.model))
    assert agent.hear_all()[-1].kind == Kind.DONE
    agent.requests.close()
    agent.end()
    assert agent.process.stderr is not None
    assert agent.process.stderr.read() == b""


def test_a_refused_graph_is_an_answer_and_the_next_request_is_served(
    agent: Talk, net: "Subject"
) -> None:
    agent.say(order(net, 2), graph_frame(b"junk"), graph(net.model))
    message, hint = error_of(agent.hear())
    assert "refuses the graph" in message
    assert hint
    agent.say(order(net), graph(net.model))
    assert agent.hear_all()[-1].kind == Kind.DONE


def test_what_a_library_prints_is_no_answer() -> None:
    code = "from hwc.backends import ort_agent; ort_agent._free_gib = lambda: print('noise')\n"
    code += "ort_agent.main()"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        assert Talk(process).hear().kind == Kind.HELLO
        out, errors = process.communicate()
    assert (out, errors) == (b"", b"noise\n")


MALFORMED = {
    "no frame": b"GET / HTTP/1.1\r\n\r\n",
    "a header of 4 GiB": MARK + b"\xff\xff\xff\xff",
    "a header that is no JSON": MARK + b"\x00\x00\x00\x04junk",
    "a part of 8 GiB": frame_of(b'{"kind": "time", "fields": {}, "parts": [8589934592]}'),
    "another request": frame_of(b'{"kind": "format-disk", "fields": {}, "parts": []}'),
    "a request without feeds": frame_of(b'{"kind": "time", "fields": {}, "parts": []}'),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=list(MALFORMED))
def test_what_makes_no_sense_is_refused_and_ends_it(agent: Talk, data: bytes) -> None:
    agent.requests.write(data)
    agent.requests.flush()
    message, hint = error_of(agent.hear())
    assert message.startswith("the agent got ")
    assert hint
    assert agent.process.wait(PATIENCE) == 2


@pytest.mark.parametrize("cut", [3, 40, 2000], ids="{} bytes".format)
def test_a_request_that_is_cut_off(agent: Talk, net: "Subject", cut: int) -> None:
    agent.requests.write(wire(order(net), graph(net.model))[:cut])
    agent.requests.close()
    agent.process.wait(PATIENCE)
    assert agent.replies.read() == b""


@pytest.mark.parametrize("end", ["SIGTERM", "SIGHUP", "SIGINT", "hang up", "stop listening"])
def test_it_ends_in_the_middle_of_a_measurement(
    agent: Talk, net: "Subject", tmp_path: Path, end: str
) -> None:
    agent.say(order(net, runs=10**6), graph(net.model))
    assert agent.hear().kind == Kind.TURN
    assert list(tmp_path.glob("hwc-*"))
    if end == "hang up":
        agent.requests.close()
    elif end == "stop listening":
        agent.replies.close()
    else:
        agent.process.send_signal(signal.Signals[end])
    assert agent.end() in {1, 128 + signal.SIGHUP, 128 + number_of(end)}
    assert list(tmp_path.iterdir()) == []


def number_of(end: str) -> int:
    """The number of a signal; 0 for what is none."""
    return signal.Signals[end] if end.startswith("SIG") else 0
