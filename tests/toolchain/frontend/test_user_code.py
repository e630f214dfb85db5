"""Functions that the user names are found, and their errors say where they are."""

from pathlib import Path

import pytest
from hwc.toolchain.errors import InputError, UsageError
from hwc.toolchain.frontend.user_code import attempt, load_function

SOURCE = """
from neighbour import VALUE

class Config:
    pass

def build():
    return VALUE

NUMBER = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "neighbour.py").write_text("VALUE = 7")
    (tmp_path / "user_script.py").write_text(SOURCE)
    (tmp_path / "broken_script.py").write_text("\n\nraise KeyError('lost')")
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(3)")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("spec", ["user_script.py:build", "user_script:build"])
def test_files_and_modules_are_found(folder: Path, spec: str) -> None:
    assert load_function(spec)() == 7
    assert load_function(str(folder / "user_script.py") + ":build")() == 7


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param("user_script.py:bild", "no function 'bild': did you mean build?", id="name"),
        pytest.param("user_script.py:NUMBER", "no function 'NUMBER'", id="not-callable"),
        pytest.param("user_script.py", "names no function", id="no-colon"),
        pytest.param("gone.py:build", "there is no file gone.py", id="file"),
        pytest.param("gone_module:build", "there is no module 'gone_module'", id="module"),
        pytest.param("broken_script.py:f", "KeyError: 'lost' (broken_script.py line 3)", id="fail"),
        pytest.param("exits.py:f", "SystemExit: 3", id="exit"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(spec: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        load_function(spec)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_our_own_errors_pass_unchanged() -> None:
    error = UsageError("as it was")
    with pytest.raises(UsageError) as caught, attempt("something"):
        raise error
    assert caught.value is error


def test_a_long_message_is_cut() -> None:
    with pytest.raises(InputError) as caught, attempt("it"):
        raise ValueError("line\n" * 1000)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
