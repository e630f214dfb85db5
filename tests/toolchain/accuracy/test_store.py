"""Losses on disk come back as they were, and nothing else does."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hwc.toolchain.accuracy.store import Context, LossStore
from hwc.toolchain.errors import HwcError, InputError, OutputError

CONTEXT = Context("model", "data", "kl v1")
LOSSES = np.linspace(0, 1, 64) ** 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one plan."""
    with LossStore(tmp_path / "new" / "losses.sqlite") as store:
        store.put(CONTEXT, "plan", LOSSES)
    return tmp_path / "new" / "losses.sqlite"


def test_losses_come_back(path: Path) -> None:
    with LossStore(path) as store:
        kept = store.get(CONTEXT, "plan")
        assert kept is not None
        assert kept.loss == LOSSES.mean()
        assert kept.samples.dtype == np.float32
        assert np.array_equal(kept.samples, LOSSES.astype(np.float32))
        assert store.count(CONTEXT) == store.resume(CONTEXT) == 1


def test_refused_plans_come_back(path: Path) -> None:
    with LossStore(path) as store:
        store.put(CONTEXT, "refused", np.full(3, np.inf))
        kept = store.get(CONTEXT, "refused")
        assert kept is not None
        assert (kept.loss, kept.samples.tolist()) == (np.inf, [np.inf] * 3)


@pytest.mark.parametrize("column", ["model", "data", "loss"])
def test_others_never_see_them(path: Path, column: str) -> None:
    """Of another model, other data, another loss; a search that should go on is refused."""
    other = replace(CONTEXT, **{column: "another"})
    with LossStore(path) as store:
        assert store.get(other, "plan") is None
        assert store.count(other) == 0
        with pytest.raises(InputError, match=r"losses .*: they are of (an)?other") as refused:
            store.resume(other)
        assert "\n" not in str(refused.value)
        store.put(other, "plan", LOSSES + 1)
        kept = store.get(CONTEXT, "plan")
        assert kept is not None
        assert kept.loss == LOSSES.mean()


def test_nothing_to_go_on_with_yet(tmp_path: Path) -> None:
    """A search that was interrupted before its first loss may go on."""
    with LossStore(tmp_path / "losses.sqlite") as store:
        assert store.resume(CONTEXT) == 0


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE t (a)")


def text(path: Path) -> None:
    path.write_text("losses\n" * 300)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def later(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 99")


def trigger(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TRIGGER t AFTER INSERT ON losses BEGIN DELETE FROM losses; END")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (foreign, InputError, "this is not a file of losses"),
        (text, InputError, "file is not a database"),
        (cut_off, InputError, "damaged|malformed"),
        (later, InputError, "schema version 99, but this hwc has 1"),
        (trigger, InputError, "not the schema"),
        (folder, OutputError, "unable to open"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_bad_files_give_one_line(
    path: Path, spoil: object, kind: type[HwcError], message: str
) -> None:
    assert callable(spoil)
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(kind, match=message) as refused, LossStore(path) as store:
        store.get(CONTEXT, "plan")
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        "mean = mean + 1e-9",
        "samples = zeroblob(256)",
        "samples = substr(samples, 1, 255)",
        "samples = 'text'",
        "samples = NULL",
        "mean = 'much'",
        "sum = NULL",
    ],
)
def test_damaged_rows_give_one_line(path: Path, change: str) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(f"UPDATE losses SET {change}")  # noqa: S608 - from the list above
    with (
        LossStore(path) as store,
        pytest.raises(InputError, match="the losses of plan plan are damaged: it is a cache"),
    ):
        store.get(CONTEXT, "plan")


def test_rows_that_were_moved_are_damaged(path: Path) -> None:
    """A row under another key does not pass for it."""
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE losses SET plan = 'other'")
    with LossStore(path) as store, pytest.raises(InputError, match="damaged"):
        store.get(CONTEXT, "other")


def test_two_searches_share_a_file(path: Path) -> None:
    with LossStore(path) as first, LossStore(path) as second:
        first.put(CONTEXT, "a", LOSSES)
        second.put(CONTEXT, "b", LOSSES)
        assert first.count(CONTEXT) == second.count(CONTEXT) == 3


def test_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="name another file"):
        LossStore(tmp_path / "file" / "losses.sqlite")
