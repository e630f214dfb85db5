"""Messages are read where they are whole, and refused where they are not."""

import pytest
from hwc.toolchain.update.content.wire import Field, Wire
from hwc.toolchain.update.refusal import Code, Refusal


def read(data: bytes, most: int = 100) -> list[Field]:
    return list(Wire(memoryview(data), most).fields(0, len(data)))


def test_every_kind_of_field() -> None:
    data = b"\x08\x96\x01" + b"\x12\x03abc" + b"\x1d" + bytes(4) + b"\x21" + bytes(8)
    assert read(data) == [
        Field(1, 150, 1, 3, packed=False),
        Field(2, None, 5, 8, packed=True),
        Field(3, None, 9, 13, packed=False),
        Field(4, None, 14, 22, packed=False),
    ]


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        (b"\x0a\x03\x01\xac\x02", [1, 300]),
        (b"\x08\x07", [7]),
        (b"\x08" + b"\xff" * 9 + b"\x01", [-1]),
        (b"\x0a\x00", []),
    ],
    ids=["packed", "single", "negative", "none"],
)
def test_numbers(data: bytes, numbers: list[int]) -> None:
    wire = Wire(memoryview(data))
    (field,) = wire.fields(0, len(data))
    assert list(wire.numbers(field)) == numbers


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        b"\x08\x80",
        b"\x08" + b"\x80" * 10 + b"\x01",
        b"\x0a\x05abcd",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0d\x00\x00\x00",
        b"\x09" + bytes(7),
        b"\x0b\x0c",
        b"\x0f",
        b"\x00\x00",
    ],
    ids=[
        "no number",
        "number that goes on",
        "number without end",
        "bytes that end early",
        "2**64 bytes",
        "three of four bytes",
        "seven of eight bytes",
        "group",
        "no kind",
        "field 0",
    ],
)
def test_damage_is_refused(data: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        read(data)
    assert refused.value.code is Code.MALFORMED


def test_work_is_bounded() -> None:
    assert len(read(b"\x08\x01" * 100)) == 100
    with pytest.raises(Refusal) as refused:
        read(b"\x08\x01" * 101)
    assert refused.value.code is Code.LIMIT


@pytest.mark.parametrize("data", [b"\x08\x01", b"\x0d" + bytes(4)], ids=["number", "fixed"])
def test_a_number_is_no_message(data: bytes) -> None:
    with pytest.raises(Refusal, match="at byte 1"):
        list(Wire(memoryview(data)).parts(0, len(data), 1))


def test_text_is_utf8() -> None:
    assert Wire(memoryview("é".encode())).text(0, 2) == "é"
    with pytest.raises(Refusal, match="at byte 0"):
        Wire(memoryview(b"\xff")).text(0, 1)
