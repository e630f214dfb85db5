"""A device over ssh: a real sshd on loopback, and everything that can be wrong with it."""

import getpass
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import hwc
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from hwc.backends import ort
from hwc.backends.agent_frames import Frame
from hwc.backends.agent_messages import Hello
from hwc.backends.remote_ort import RemoteOrt
from hwc.backends.ssh_address import Address
from hwc.toolchain.errors import BackendError, DeviceError, HwcError, InputError
from hwc.toolchain.host import detect

if TYPE_CHECKING:
    from hwc.tests.backends.conftest import Sshd
    from hwc.tests.conftest import Subject

RUNS = 5
TURNS = 60  # enough for a session to be ended in the middle
AT_ONCE = (0.0,) * 5
NET = """<ir_version: 10, opset_import: ["" : 21]> g (float[1,3,16,16] x) => (float[1,8,16,16] y)
<float[8,3,3,3] w1, float[8] b1, float[8,8,3,3] w2>
{
    [conv1] c1 = Conv <pads = [1,1,1,1]> (x, w1, b1)
    [relu1] r1 = Relu (c1)
    [conv2] y = Conv <pads = [1,1,1,1]> (r1, w2)
}"""


@pytest.fixture(scope="module")
def net(subject: Callable[..., "Subject"]) -> "Subject":
    return subject(NET)


@pytest.fixture(scope="module")
def models(net: "Subject") -> list[ir.Model]:
    return [net.model, net.writer.write(net.plan(every="int8"))]


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(sshd: "Sshd") -> Iterator[None]:
    """Whatever happens, the device is as it was."""
    yield
    assert sshd.left_behind() == []


@pytest.fixture
def remote(sshd: "Sshd") -> Iterator[RemoteOrt]:
    with RemoteOrt(sshd.address(), ssh=sshd.ssh, pauses=AT_ONCE) as connected:
        yield connected


def refusal(sshd: "Sshd", address: Address | None = None, ssh: tuple[str, ...] = ()) -> HwcError:
    """The error that connecting ends in."""
    with (
        pytest.raises(HwcError) as refused,
        RemoteOrt(address or sshd.address(), ssh=ssh or sshd.ssh),
    ):
        pytest.fail("it connected")
    assert "\n" not in str(refused.value)
    assert refused.value.hint
    return refused.value


def script(path: Path, *lines: str) -> str:
    """A command on the device."""
    path.write_text("\n".join(lines) + "\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_what_is_measured_there_is_what_is_measured_here(
    remote: RemoteOrt, net: "Subject", models: list[ir.Model]
) -> None:
    turns: list[None] = []
    there = remote.time_builds(models, net.samples[0], runs=RUNS, told=lambda: turns.append(None))
    here = ort.time_builds(models, net.samples[0], runs=RUNS)
    assert len(turns) == RUNS
    for far, near in zip(there, here, strict=True):
        assert [k.op for k in far.kernels] == [k.op for k in near.kernels]
        assert {k.name for k in far.kernels} == {node.name for node in far.graph}
        assert {k.us.shape for k in far.kernels} == {far.kernels[0].us.shape}
        assert far.total_us.shape == (RUNS,)
        assert (far.total_us > 0).all()
        assert far.wall_us is not None
        # Both are this machine; a factor that no slow moment of it explains would be another unit.
        assert 0.02 < np.median(far.total_us) / np.median(near.total_us) < 50


def test_the_runtime_there_says_what_it_makes_of_a_graph(remote: RemoteOrt, net: "Subject") -> None:
    there = remote.running_graph(net.model, net.samples[0])
    assert [n.op_type for n in there] == [n.op_type for n in ort.running_graph(net.model)]


def test_who_answers(remote: RemoteOrt) -> None:
    host = detect()
    hello = remote.hello
    assert (hello.hwc, hello.version) == (hwc.__version__, onnxruntime.__version__)
    assert (hello.host.arch, hello.host.model, hello.host.isa) == (host.arch, host.model, host.isa)
    assert hello.host.caches == host.caches
    assert hello.free_gib is None or hello.free_gib > 0
    assert remote.notes == ()


def test_weights_beside_the_graph_are_sent_with_it(
    remote: RemoteOrt, net: "Subject", tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    ir.save(net.model.clone(), path, external_data="model.onnx.data", size_threshold_bytes=64)
    loaded = ir.load(path)
    (build,) = remote.time_builds([loaded], net.samples[0], runs=1)
    assert len(build.kernels) == len(build.graph)
    kept = loaded.graph.initializers["w1"].const_value
    assert isinstance(kept, ir.ExternalTensor)  # the caller's graph is as it was


def test_a_graph_of_more_than_2_gib_is_not_sent(
    remote: RemoteOrt, net: "Subject", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwc.backends.remote_ort.LARGEST", 1000)
    with pytest.raises(InputError, match="cannot be sent"):
        remote.time_builds([net.model], net.samples[0], runs=1)


def test_what_the_runtime_there_refuses(
    remote: RemoteOrt, net: "Subject", parse_graph: Callable[[str], onnx.ModelProto]
) -> None:
    bad = parse_graph(NET.replace("Relu (c1)", "Frobnicate (c1)"))
    with pytest.raises(BackendError, match=r"^ssh://.*: ONNX Runtime .* refuses the graph"):
        remote.time_builds([ir.from_proto(bad), net.model], net.samples[0], runs=1)
    wrong = {"x": np.ones((1, 3, 8, 9), np.float32)}
    with pytest.raises(BackendError, match=r"^ssh://.*: ONNX Runtime could not run the graph"):
        remote.time_builds([net.model], wrong, runs=1)
    assert len(remote.time_builds([net.model], net.samples[0], runs=1)) == 1  # it goes on


def test_an_unknown_host_key_is_refused_and_not_learnt(sshd: "Sshd") -> None:
    empty = sshd.folder / "nobody"
    empty.touch()
    ssh = sshd.user("stranger", f"UserKnownHostsFile {empty}")
    error = refusal(sshd, ssh=ssh)
    assert isinstance(error, DeviceError)
    assert "host key is not known" in error.message
    assert f"ssh -p {sshd.port} {getpass.getuser()}@127.0.0.1" in error.hint
    assert "fingerprint" in error.hint
    assert empty.read_text() == ""


def test_a_host_key_that_the_users_settings_accept_is_told_of(sshd: "Sshd") -> None:
    empty = sshd.folder / "trusting"
    lines = (f"UserKnownHostsFile {empty}", "StrictHostKeyChecking accept-new")
    with RemoteOrt(sshd.address(), ssh=sshd.user("trusting", *lines)) as connected:
        (note,) = connected.notes
    assert "Permanently added" in note


def test_a_changed_host_key_is_refused(sshd: "Sshd") -> None:
    other = sshd.folder / "other_known_hosts"
    public = sshd.key("other_host_key").with_suffix(".pub").read_text()
    other.write_text(f"[127.0.0.1]:{sshd.port} {public}")
    error = refusal(sshd, ssh=sshd.user("deceived", f"UserKnownHostsFile {other}"))
    assert isinstance(error, DeviceError)
    assert "not the one that known_hosts has" in error.message
    assert other.read_text() == f"[127.0.0.1]:{sshd.port} {public}"


def test_a_key_that_is_refused(sshd: "Sshd") -> None:
    sshd.key("unknown_key")
    client = sshd.folder / "client.refused"
    known = (sshd.folder / "client").read_text()
    client.write_text(known.replace("/user_key", "/unknown_key"))
    error = refusal(sshd, ssh=("ssh", "-F", str(client)))
    assert isinstance(error, DeviceError)
    assert "refuses this user's keys" in error.message


def test_a_closed_port(sshd: "Sshd") -> None:
    address = Address("127.0.0.1", port=1)
    error = refusal(sshd, address)
    assert isinstance(error, DeviceError)
    assert error.message == "ssh://127.0.0.1:1: it refuses connections"


def test_no_ssh_on_this_machine(sshd: "Sshd", tmp_path: Path) -> None:
    error = refusal(sshd, ssh=(str(tmp_path / "ssh"),))
    assert isinstance(error, DeviceError)
    assert "cannot be started" in error.message


PACKAGES = {"hwc": [], "numpy": ["hwc"], "onnxruntime": ["hwc", "numpy"]}


@pytest.mark.parametrize(("missing", "there"), PACKAGES.items(), ids=list(PACKAGES))
def test_what_is_missing_there(
    sshd: "Sshd", tmp_path: Path, missing: str, there: list[str]
) -> None:
    for name in there:
        package = Path(str(sys.modules[name].__file__)).parent
        for folder in (package, package.with_name(f"{name}.libs")):
            if folder.exists():
                (tmp_path / folder.name.replace(package.name, name)).symlink_to(folder)
    python = script(
        tmp_path / "python", "#!/bin/sh", f'PYTHONPATH={tmp_path} exec {sys.executable} -S "$@"'
    )
    error = refusal(sshd, sshd.address(python))
    assert isinstance(error, BackendError)
    assert error.message.endswith(f"{python} there has no {missing}")
    assert f"{python} -m pip install --no-deps hwc-compiler=={hwc.__version__} && " in error.hint
    assert error.hint.endswith(f"{python} -m pip install numpy onnxruntime")


def test_no_python_there(sshd: "Sshd") -> None:
    error = refusal(sshd, sshd.address("no-such-python"))
    assert isinstance(error, BackendError)
    assert "there is no no-such-python there" in error.message


def test_a_python_with_an_odd_path(sshd: "Sshd", tmp_path: Path) -> None:
    """It is one word to the shell there, whatever is in it."""
    odd = tmp_path / 'it\'s $(touch owned); a "path" & more'
    odd.mkdir()
    python = script(odd / "python 3", "#!/bin/sh", f'exec {sys.executable} "$@"')
    with RemoteOrt(sshd.address(python), ssh=sshd.ssh) as connected:
        assert connected.hello.hwc == hwc.__version__


def test_a_shell_that_greets(sshd: "Sshd") -> None:
    key = sshd.key("greeting_key", "echo Welcome to the board; eval $SSH_ORIGINAL_COMMAND")
    with RemoteOrt(sshd.address(), ssh=sshd.user("greeted", f"IdentityFile {key}")) as connected:
        assert connected.hello.hwc == hwc.__version__


@pytest.mark.parametrize(
    ("command", "words"),
    [
        pytest.param("echo no shell for you", "the connection was lost", id="it only prints"),
        pytest.param("yes hwc", "is not hwc's agent", id="it never stops printing"),
        pytest.param("printf 'hwcA....and then'", "is not hwc's agent", id="nearly a frame"),
        pytest.param("exit 7", "the agent failed with exit code 7", id="it fails"),
    ],
)
def test_something_else_answers(
    sshd: "Sshd",
    command: str,
    words: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hwc.backends.ssh._END_S", 0.3)
    name = f"key_{request.node.callspec.id.replace(' ', '_')}"
    key = sshd.key(name, command)
    error = refusal(sshd, ssh=sshd.user(name, f"IdentityFile {key}"))
    assert words in error.message


# Speaks for an agent of another kind: `say` replaces parts of what the real one says.
FAKE = """#!{python}
import dataclasses, os, sys
sys.argv = ["agent"]
from hwc.backends import agent_messages, ort_agent
{say}
sys.exit(ort_agent.main())
"""
HELLOS: Mapping[str, tuple[str, str]] = {
    "another protocol": ("ort_agent.PROTOCOL = 99", "speak different protocols (99 and 1)"),
    "what cannot be": ("ort_agent._free_gib = lambda: -1.0", "not hwc's agent"),
}
BUILDS: Mapping[str, str] = {
    "what cannot be": "[dataclasses.replace(raw, total_us=-raw.total_us)]",
    "a build too many": "[raw, raw]",
    "no graph": "[dataclasses.replace(raw, graph=b'junk')]",
}


def fake(path: Path, say: str) -> str:
    """A Python on the device whose agent is not what it should be."""
    return script(path / "python", *FAKE.format(python=sys.executable, say=say).splitlines())


@pytest.mark.parametrize(("say", "words"), HELLOS.values(), ids=list(HELLOS))
def test_an_agent_that_is_not_what_it_should_be(
    sshd: "Sshd", tmp_path: Path, say: str, words: str
) -> None:
    error = refusal(sshd, sshd.address(fake(tmp_path, say)))
    assert isinstance(error, BackendError)
    assert words in error.message


@pytest.mark.parametrize("say", BUILDS.values(), ids=list(BUILDS))
def test_an_agent_that_sends_nonsense(
    sshd: "Sshd", net: "Subject", tmp_path: Path, say: str
) -> None:
    lines = f"""real = ort_agent.time_graphs
def time_graphs(*args, **more):
    (raw,) = real(*args, **more)
    return {say}
ort_agent.time_graphs = time_graphs"""
    with (
        RemoteOrt(sshd.address(fake(tmp_path, lines)), ssh=sshd.ssh) as connected,
        pytest.raises(BackendError, match="its agent sent"),
    ):
        connected.time_builds([net.model], net.samples[0], runs=RUNS)


def test_another_hwc_there_is_told_of(sshd: "Sshd", tmp_path: Path) -> None:
    python = fake(tmp_path, 'ort_agent.__version__ = "9.9.\\x1b[31mred"')
    with RemoteOrt(sshd.address(python), ssh=sshd.ssh) as connected:
        (note,) = connected.notes
    assert "hwc 9.9. [31mred there" in note  # and no colours of the device's choice


def test_a_connection_that_is_cut_once(
    sshd: "Sshd", remote: RemoteOrt, net: "Subject", models: list[ir.Model]
) -> None:
    turns: list[int] = []

    def told() -> None:
        turns.append(sshd.cut() if len(turns) == 1 else 0)

    builds = remote.time_builds(models, net.samples[0], runs=TURNS, told=told)
    assert [build.total_us.shape for build in builds] == [(TURNS,)] * 2
    assert turns[1] > 0
    assert len(turns) == TURNS  # each turn once, though some were run twice


def test_a_connection_that_is_cut_again_and_again(
    sshd: "Sshd", remote: RemoteOrt, net: "Subject", monkeypatch: pytest.MonkeyPatch
) -> None:
    hello = Hello.of
    cuts: list[int] = []

    def cut_at_once(frame: Frame) -> Hello:
        cuts.append(sshd.cut())
        return hello(frame)

    monkeypatch.setattr(Hello, "of", cut_at_once)
    sshd.cut()
    with pytest.raises(DeviceError, match="connection was lost") as lost:
        remote.time_builds([net.model], net.samples[0], runs=TURNS)
    assert "memory" in lost.value.hint
    assert len(cuts) == len(AT_ONCE)


def test_another_machine_answers_after_a_cut(
    sshd: "Sshd", remote: RemoteOrt, net: "Subject", monkeypatch: pytest.MonkeyPatch
) -> None:
    sshd.cut()
    monkeypatch.setattr("hwc.backends.remote_ort._identity", id)
    with pytest.raises(DeviceError, match="another machine or runtime"):
        remote.time_builds([net.model], net.samples[0], runs=1)


MEASURE = """
import sys
import numpy as np, onnx_ir as ir
from hwc.backends.remote_ort import RemoteOrt
from hwc.backends.ssh_address import Address
model = ir.load(sys.argv[1])
with RemoteOrt(Address.parse(sys.argv[2]), ssh=sys.argv[3:]) as remote:
    feeds = {"x": np.ones((1, 3, 16, 16), np.float32)}
    print("connected", flush=True)
    remote.time_builds([model], feeds, runs=10**9)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_when_hwc_ends_the_agent_ends(
    sshd: "Sshd", net: "Subject", tmp_path: Path, number: signal.Signals
) -> None:
    ir.save(net.model, tmp_path / "model.onnx")
    url = f"{sshd.address()}?python={quote(sys.executable)}"
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "model.onnx"), url, *sshd.ssh]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until = time.monotonic() + 30
        while not sshd.temporary():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.1)  # into the measurement
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode in (-number, 130), errors
