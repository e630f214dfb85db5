"""The wire format of protobuf: fields of a message, read in place (protobuf.dev, "Encoding")."""

from collections.abc import Iterator
from typing import NamedTuple

from ..refusal import Code, Refusal

MOST_FIELDS = 1 << 22  # of one file: some seconds of work
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_WORD = (1 << 64) - 1


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: As the schema counts it.
        value: Of a field that is one number of variable length; None of any other.
        begin: Its first byte in the file, without tag and length.
        end: The byte behind it.
        packed: It is a run of bytes: text, a message or several numbers.
    """

    number: int
    value: int | None
    begin: int
    end: int
    packed: bool


class Wire:
    """A reader of the messages of one file, which does no more than a bounded amount of work."""

    def __init__(self, data: memoryview, most: int = MOST_FIELDS) -> None:
        self.data = data
        self._left = most

    def fields(self, begin: int, end: int) -> Iterator[Field]:
        """The fields of the message that takes the bytes from `begin` to `end`.

        Raises:
            Refusal: It is damaged, or the file has more fields than are read.
        """
        while begin < end:
            self._left -= 1
            if self._left < 0:
                raise Refusal(Code.LIMIT, "the file has more protobuf fields than are read")
            tag, begin = self._varint(begin, end)
            number, kind = tag >> 3, tag & 7
            if not number:
                raise _damaged(begin)
            if kind == _VARINT:
                value, after = self._varint(begin, end)
                yield Field(number, value, begin, after, packed=False)
            else:
                begin, after = self._stretch(kind, begin, end)
                yield Field(number, None, begin, after, packed=kind == _BYTES)
            begin = after

    def parts(self, begin: int, end: int, number: int) -> Iterator[tuple[int, int]]:
        """Begin and end of the texts or messages that a message has under a number.

        Raises:
            Refusal: One of them is neither, and as `fields`.
        """
        for field in self.fields(begin, end):
            if field.number == number:
                if not field.packed:
                    raise _damaged(field.begin)
                yield field.begin, field.end

    def numbers(self, field: Field) -> Iterator[int]:
        """The integers of a repeated field, signed, whether it is packed or not."""
        if not field.packed:
            if field.value is None:
                raise _damaged(field.begin)
            yield _signed(field.value)
            return
        begin = field.begin
        while begin < field.end:
            value, begin = self._varint(begin, field.end)
            yield _signed(value)

    def text(self, begin: int, end: int) -> str:
        """A text."""
        try:
            return str(self.data[begin:end], "utf-8")
        except UnicodeDecodeError as cause:
            raise _damaged(begin) from cause

    def _stretch(self, kind: int, begin: int, end: int) -> tuple[int, int]:
        if kind == _BYTES:
            size, begin = self._varint(begin, end)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:  # groups, which ONNX never had, and what is no kind at all
            raise _damaged(begin)
        if size > end - begin:
            raise _damaged(begin)
        return begin, begin + size

    def _varint(self, begin: int, end: int) -> tuple[int, int]:
        value = 0
        for shift, at in zip(range(0, 70, 7), range(begin, end), strict=False):
            byte = self.data[at]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follow
                return value & _WORD, at + 1
        raise _damaged(begin)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _damaged(offset: int) -> Refusal:
    return Refusal(Code.MALFORMED, f"no protobuf message at byte {offset}")
