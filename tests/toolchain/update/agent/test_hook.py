"""Tests of toolchain/update/agent/{hook,health}.py."""

import os
import sys
import time
from pathlib import Path

import pytest
from hwc.toolchain.update.agent.health import Kind, Unchecked
from hwc.toolchain.update.agent.hook import Hook

GOOD = '{"checks": [{"kind": "load", "passed": true, "note": "ok"}]}'


def hook(code: str, limit: float = 20.0) -> Hook:
    """A hook that is a line of Python."""
    return Hook((sys.executable, "-S", "-E", "-c", code), limit)


def test_a_hook_is_given_the_folder_and_its_checks_are_read(tmp_path: Path) -> None:
    code = f"import sys; assert sys.argv[1] == {str(tmp_path)!r}; print({GOOD!r})"
    verdict = hook(code).check(tmp_path)
    assert verdict.passed
    assert [(check.kind, check.note) for check in verdict.checks] == [(Kind.LOAD, "ok")]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('hm')", "not JSON"),
        ("pass", "not JSON"),
        ("print('{\"checks\": []}')", "checked nothing"),
        ('print(\'{"checks": [{"kind": "x", "passed": true, "note": ""}]}\')', "not one of"),
        (f"print({GOOD.replace('true', 'false').replace('ok', 'no GPU')!r})", "load: no GPU"),
        (f"print({GOOD!r}); import sys; sys.exit('out of memory')", "ended with 1: out of memory"),
        (f"print({GOOD!r}); import os; os.abort()", "ended with -6"),
        ("print('[' * 100000)", "not JSON"),
        ("print('x' * 10000000)", "not JSON"),
    ],
    ids=["text", "silent", "none", "kind", "failed", "exit", "abort", "deep", "much"],
)
def test_anything_but_passed_checks_fails(code: str, said: str) -> None:
    verdict = hook(code).check(Path())
    assert not verdict.passed
    assert said in verdict.text


def test_a_hook_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import os, time\n"
        f"child = os.fork()\nif child: open({str(note)!r}, 'w').write(str(child))\n"
        "time.sleep(60)"
    )
    start = time.monotonic()
    verdict = hook(code, limit=1.0).check(Path())
    assert not verdict.passed
    assert "killed after 1 s" in verdict.text
    assert time.monotonic() - start < 30
    assert not _runs(int(note.read_text()))


def test_what_a_hook_leaves_behind_does_not_hold_it_up() -> None:
    code = f"import os, time\nif os.fork() == 0: time.sleep(60)\nprint({GOOD!r})"
    verdict = hook(code, limit=2.0).check(Path())
    assert "killed" in verdict.text, "its output is still open, so it has not ended"


def test_a_missing_hook_fails() -> None:
    verdict = Hook(("/no/such/hook",)).check(Path())
    assert not verdict.passed
    assert "No such file" in verdict.text


def test_without_a_hook_the_digests_have_to_do() -> None:
    assert Unchecked().check(Path()).passed


def _runs(pid: int) -> bool:
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False  # waits for somebody to take note of its end
        time.sleep(0.05)
    return True
