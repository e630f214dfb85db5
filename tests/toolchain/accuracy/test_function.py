"""Functions of the user are found, and their failures are one line."""

from pathlib import Path

import pytest
from hwc.toolchain.accuracy.function import load_function
from hwc.toolchain.errors import HwcError, InputError, UsageError


def test_by_module_and_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the working directory, or a file."""
    (tmp_path / "mine_by_name.py").write_text("def f():\n    return 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    assert load_function("mine_by_name:f")() == 1
    assert load_function(f"{tmp_path}/mine_by_name.py:f")() == 1


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("nothing", UsageError, "names no function"),
        ("a:b c", UsageError, "names no function"),
        (":f", UsageError, "names no function"),
        ("no_such_module_here:f", InputError, "ModuleNotFoundError"),
        ("no_such_file.py:f", InputError, "FileNotFoundError"),
        ("math:no_such", InputError, "math has no function 'no_such'"),
        ("math:pi", InputError, "math has no function 'pi'"),
        ("broken.py:f", InputError, "broken.py:f cannot be imported: ZeroDivisionError"),
    ],
)
def test_failures(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spec: str,
    error: type[HwcError],
    message: str,
) -> None:
    """Each says what is wrong."""
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["/nowhere"])
    with pytest.raises(error) as caught:
        load_function(spec)
    assert message in caught.value.message
    assert "\n" not in str(caught.value)
