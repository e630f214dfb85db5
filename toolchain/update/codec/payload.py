"""A payload from outside, read from its beginning to its end and no further."""

from ..refusal import Code, Refusal

_LOW, _MORE = 0x7F, 0x80  # of a byte of a count: seven bits, and whether another byte follows
_VARINT_BYTES = 5  # no count of a block is larger


def malformed(what: str) -> Refusal:
    """The refusal of a payload that no encoder writes, or writes for other old bytes."""
    hint = "the installed release is damaged, or the update file is: take the full update"
    return Refusal(Code.MALFORMED, f"the payload of a block {what}", hint)


def varint(value: int) -> bytes:
    """A count of at most 35 bits in as few bytes as it takes, low bits first (LEB128)."""
    out = bytearray()
    while value > _LOW:
        out.append(value & _LOW | _MORE)
        value >>= 7
    out.append(value)
    return bytes(out)


class Payload:
    """Bytes that are taken one after the other.

    Args:
        data: All of them.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def rest(self) -> bytes:
        """What has not been taken yet."""
        return self._data[self._at :]

    def take(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises:
            Refusal: There are fewer.
        """
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise malformed(f"ends after {len(self._data)} B")
        self._at += size
        return taken

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def varint(self, most: int) -> int:
        """The next count.

        Raises:
            Refusal: It is larger than `most`.
        """
        value = 0
        for place in range(_VARINT_BYTES):
            byte = self.byte()
            value |= (byte & _LOW) << 7 * place
            if byte < _MORE:
                break
        if value > most or byte >= _MORE:
            raise malformed(f"counts {value}, over {most}")
        return value

    def end(self) -> None:
        """Make sure that nothing is left.

        Raises:
            Refusal: There is.
        """
        if self._at != len(self._data):
            raise malformed(f"has {len(self._data) - self._at} B too many")
