"""YAML from outside: attacks and accidents end in one DeviceError."""

import os
from pathlib import Path

import pytest
from hwc.toolchain.errors import DeviceError
from hwc.toolchain.strict_yaml import MAX_BYTES, load_table, read_limited
from hypothesis import given
from hypothesis import strategies as st

BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"
ATTACKS = {
    "alias-bomb": (BOMB, "aliases"),
    "self-reference": ("a: &a [*a]\n", "aliases"),
    "deep-nesting": ("a: " + "[" * 20_000, "deep nesting"),
    "python-object": ("a: !!python/object/apply:os.system [ls]\n", "not YAML"),
    "unclosed": ("a: [1, 2\n", "not YAML"),
    "tab": ("a:\n\t- 1\n", "not YAML"),
    "two-documents": ("a: 1\n---\nb: 1\n", "not YAML"),
    "key-twice": ("a: 1\na: 2\n", "'a' is given twice"),
    "key-twice-below": ("a: {b: 1, b: 2}\n", "'b' is given twice"),
    "list-as-key": ("? [1]\n: 2\n", "not YAML"),
    "number-as-key": ("1: 2\n", "key 1 is not text"),
    "escape-in-key": ('"\\e[31m": 2\n', "is not text"),
    "thousands-of-digits": ("a: " + "9" * 20_000, "not YAML"),
    "impossible-date": ("a: 2001-99-99\n", "not YAML"),
    "empty": ("", "the file is empty"),
}


@pytest.mark.parametrize(("text", "message"), ATTACKS.values(), ids=ATTACKS)
def test_attack(text: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message) as caught:
        load_table(text.encode(), "x.yaml")
    assert str(caught.value).startswith("x.yaml: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_not_utf8() -> None:
    with pytest.raises(DeviceError, match="not YAML"):
        load_table(b"a: \xff\xfe", "x.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_table_or_a_device_error(data: bytes) -> None:
    try:
        load_table(data, "x.yaml")
    except DeviceError as error:
        assert str(error).startswith("x.yaml: ")  # noqa: PT017 - either outcome is right


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"#" * MAX_BYTES)
    assert len(read_limited(path)) == MAX_BYTES
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(DeviceError, match="larger than 64 KiB"):
        read_limited(path)


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="is not a file"):
        read_limited(tmp_path)


def test_pipe_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "pipe.yaml"
    os.mkfifo(path)
    with pytest.raises(DeviceError, match="is not a file"):
        read_limited(path)


def test_symlink_loop(tmp_path: Path) -> None:
    path = tmp_path / "loop.yaml"
    path.symlink_to(path)
    with pytest.raises(DeviceError, match=r"loop\.yaml"):
        read_limited(path)
