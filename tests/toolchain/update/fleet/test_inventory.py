"""An inventory is read strictly: every error names line and column."""

from pathlib import Path

import pytest
from hwc.toolchain.errors import InputError
from hwc.toolchain.update.fleet.inventory import Device, read_inventory
from hwc.toolchain.update.fleet.links import LINKS, MBIT

HEAD = "device,product,seq,link,mbit_per_s,price_per_mb,memory_mb,loss\n"
LINE = "a,camera,3,lte,,,,\n"


def read(folder: Path, text: str | bytes) -> tuple[Device, ...]:
    """The devices of a file with this content."""
    path = folder / "fleet.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_inventory(path)


def test_a_class_says_what_the_line_leaves_open(tmp_path: Path) -> None:
    assert read(tmp_path, HEAD + LINE) == (Device("a", "camera", 3, LINKS["lte"]),)


def test_a_line_says_it_better_than_the_class(tmp_path: Path) -> None:
    (device,) = read(tmp_path, HEAD + "a,camera,3,lte,2.5,0.2,64,0.1\n")
    assert device.link.bandwidth == 2.5 * MBIT
    assert (device.link.price, device.link.loss) == (0.2, 0.1)
    assert device.memory == 64_000_000
    assert device.link.cuts == LINKS["lte"].cuts


def test_versions_and_any_order_of_columns(tmp_path: Path) -> None:
    (device,) = read(tmp_path, '\ufefflink,version,product,device\r\nwifi,1.4,"my, camera",a\r\n')
    assert device == Device("a", "my, camera", "1.4", LINKS["wifi"])


BAD = {
    "empty file": ("", "line 1: device is missing"),
    "no device": (HEAD, "lists no device"),
    "unknown column": ("device,product,seq,lnik\n", "line 1: 'lnik' is not a column"),
    "column twice": ("device,product,seq,seq,link\n", "line 1: seq is there twice"),
    "no column of what is installed": ("device,product,link\n", "line 1: one of seq and version"),
    "both": ("device,product,link,seq,version\n", "line 1: one of seq and version"),
    "too few cells": (HEAD + LINE + "b,camera\n", "line 3: 2 cells, not 8"),
    "device twice": (HEAD + LINE + LINE, "line 3, device: 'a' is on line 2 already"),
    "no device id": (HEAD + ",camera,3,lte,,,,\n", "line 2, device: '' is not a name"),
    "spaces": (HEAD + "a, camera,3,lte,,,,\n", "line 2, product: ' camera' is not a name"),
    "control character": (HEAD + "a\x1b,camera,3,lte,,,,\n", "line 2, device: 'a\\x1b' is not"),
    "long": (HEAD + "a" * 201 + ",camera,3,lte,,,,\n", "line 2, device:"),
    "seq": (HEAD + "a,camera,1.4,lte,,,,\n", "line 2, seq: '1.4' is not a count"),
    "seq below 0": (HEAD + "a,camera,-1,lte,,,,\n", "line 2, seq: '-1' is not a count"),
    "other digits": (HEAD + "a,camera,²,lte,,,,\n", "line 2, seq: '²' is not a count"),
    "endless seq": (HEAD + f"a,camera,{'9' * 5000},lte,,,,\n", "line 2, seq:"),
    "link": (HEAD + "a,camera,3,lteM,,,,\n", "line 2, link: 'lteM' is no class of links"),
    "speed": (HEAD + "a,camera,3,lte,0,,,\n", "line 2, mbit_per_s: '0' is not at least"),
    "not a number": (HEAD + "a,camera,3,lte,,x,,\n", "line 2, price_per_mb: 'x' is not a number"),
    "nan": (HEAD + "a,camera,3,lte,,nan,,\n", "line 2, price_per_mb: 'nan' is not at least 0"),
    "inf": (HEAD + "a,camera,3,lte,inf,,,\n", "line 2, mbit_per_s: 'inf' is not"),
    "memory": (HEAD + "a,camera,3,lte,,,-5,\n", "line 2, memory_mb: '-5' is not at least 0"),
    "loss": (HEAD + "a,camera,3,lte,,,,1\n", "line 2, loss: '1' is not at least 0, below 1"),
    "quotes": (HEAD + 'a,"cam"era,3,lte,,,,\n', "line 2:"),
    "not text": (b"device\xff", "byte 6 is not UTF-8"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_refused(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert f"fleet.csv, {message}" in str(caught.value) or message in str(caught.value)
    assert caught.value.hint


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_inventory(tmp_path / "fleet.csv")
