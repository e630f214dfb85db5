"""What ssh and a shell say, and what that means."""

import pytest
from hwc.backends.ssh_address import Address
from hwc.backends.ssh_fault import explain
from hwc.toolchain.errors import BackendError, DeviceError

ORIN = Address("orin", "pi")
FAILED = "Host key verification failed.\r\n"
# As OpenSSH 9.2, 8.2 and 7.6 print them; the name of the case, what is said, what it means.
OF_SSH = [
    ("no name", "ssh: Could not resolve hostname orin: Name or service not known", "no host", True),
    (
        "no name server",
        "ssh: Could not resolve hostname orin: Temporary failure in name resolution",
        "no host of that name",
        True,
    ),
    ("refused", "ssh: connect to host orin port 22: Connection refused", "refuses conn", True),
    ("no route", "ssh: connect to host orin port 22: No route to host", "be reached", True),
    ("no network", "ssh: connect to host orin port 22: Network is unreachable", "be reached", True),
    ("time out", "ssh: connect to host orin port 22: Connection timed out", "be reached", True),
    ("time out later", "Timeout, server orin not responding.", "connection was lost", True),
    ("slow banner", "Connection timed out during banner exchange", "be reached", True),
    ("closed", "Connection to orin closed by remote host.", "connection was lost", True),
    ("reset", "client_loop: send disconnect: Broken pipe", "connection was lost", True),
    ("reset while greeting", "kex_exchange_identification: read: reset", "was lost", True),
    ("nothing is said", "", "connection was lost (nothing was said)", True),
    ("no key", "pi@orin: Permission denied (publickey,password).", "this user's keys", False),
    (
        "too many keys",
        "Received disconnect from 10.0.0.7 port 22:2: Too many authentication failures",
        "this user's keys",
        False,
    ),
    ("unknown", FAILED, "not known here", False),
    (
        "unknown, strictly",
        "No ED25519 host key is known for orin and you have requested strict checking.\r\n"
        + FAILED,
        "not known here",
        False,
    ),
    (
        "changed",
        "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n" + FAILED,
        "not the one that known_hosts has",
        False,
    ),
    (
        "revoked",
        "@       WARNING: REVOKED HOST KEY DETECTED!               @\r\n" + FAILED,
        "not the one that known_hosts has",
        False,
    ),
]
OF_COMMAND = [
    ("no python", 127, "bash: line 1: exec: python3: not found", "there is no python3 there"),
    ("not a program", 126, "sh: 1: exec: python3: Permission denied", "there is no python3 there"),
    (
        "no hwc",
        1,
        "Error while finding module specification for 'hwc' (No module named 'hwc')",
        "python3 there has no hwc",
    ),
    ("an hwc without agent", 1, "python3: No module named hwc.backends.ort_agent", "has no hwc"),
    ("no numpy", 1, "ModuleNotFoundError: No module named 'numpy'", "has no numpy"),
    ("no runtime", 1, "No module named 'onnxruntime.capi'", "has no onnxruntime"),
    ("a crash", 1, "Traceback\n  line\nMemoryError\n", "failed with exit code 1 (MemoryError)"),
    ("a signal", 137, "Killed", "failed with exit code 137 (Killed)"),
]


@pytest.mark.parametrize(
    ("said", "words", "passing"), [c[1:] for c in OF_SSH], ids=[c[0] for c in OF_SSH]
)
def test_what_ssh_says(said: str, words: str, *, passing: bool) -> None:
    lost = explain(ORIN, 255, said)
    assert isinstance(lost.error, DeviceError)
    assert lost.error.message.startswith("ssh://pi@orin: ")
    assert words in lost.error.message
    assert lost.passing is passing
    assert lost.error.hint
    assert str(lost.error).isprintable()


@pytest.mark.parametrize(
    ("code", "said", "words"), [c[1:] for c in OF_COMMAND], ids=[c[0] for c in OF_COMMAND]
)
def test_what_a_shell_or_python_there_says(code: int, said: str, words: str) -> None:
    lost = explain(ORIN, code, said)
    assert isinstance(lost.error, BackendError)
    assert words in lost.error.message
    assert not lost.passing
    assert lost.error.hint


def test_a_device_cannot_write_to_the_terminal() -> None:
    said = "\x1b]0;owned\x07\x1b[2J\x9b31m" + "x" * 10_000
    message = str(explain(ORIN, 1, said))
    assert message.isprintable()
    assert len(message) < 2000
