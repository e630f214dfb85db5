"""Backends are found by name, and a missing one is an error with a remedy."""

import pytest
from hwc.toolchain.errors import BackendError
from hwc.tools import backends
from hwc.tools.backends import open_backend


def test_opens_by_name() -> None:
    assert open_backend("ort").name == "ort"


def test_unknown_name() -> None:
    with pytest.raises(BackendError, match="no backend 'cuda': there are ort, trt, ascend, dcu"):
        open_backend("cuda")


def test_missing_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.BACKENDS, "ort", "..backends.absent:Absent")
    with pytest.raises(BackendError, match=r"needs the module 'hwc\.backends\.absent'"):
        open_backend("ort")
