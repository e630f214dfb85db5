"""A repository of its own for each test, copied from one, and a server for it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hwc.toolchain.update.trust.roles import METADATA, TARGETS

from .server import Server, serving
from .world import Fleet, make_fleet


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_disks() -> Iterator[None]:
    """No power is cut here but in copies: a disk need not keep anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """The repository that others are copied from: keys are made once."""
    return make_fleet(tmp_path_factory.mktemp("trust"))


@pytest.fixture
def fleet(template: Fleet, tmp_path: Path) -> Fleet:
    """A repository of two releases of a door."""
    shutil.copytree(template.folder / METADATA, tmp_path / "fleet" / METADATA)
    for part in ("keys", f"fleet/{TARGETS}"):  # of which no file is ever written over
        shutil.copytree(template.home / part, tmp_path / part, copy_function=os.link)
    return Fleet(tmp_path, template.later)


@pytest.fixture
def server(fleet: Fleet) -> Iterator[Server]:
    """A web server of that repository."""
    with serving(fleet.folder) as running:
        yield running
