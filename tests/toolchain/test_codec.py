"""The codec is exact both ways and refuses what it does not know."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import pytest
from hwc.toolchain.codec import LATER, canonical, decode, encode, parse
from hwc.toolchain.errors import InputError
from hypothesis import given
from hypothesis import strategies as st


class Colour(StrEnum):
    """A closed set."""

    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Inner:
    """Numbers."""

    number: int
    real: float


@dataclass(frozen=True, slots=True)
class Outer:
    """Every kind of field that the project has."""

    text: str
    colour: Colour
    inner: Inner | None
    many: tuple[Inner, ...] = ()
    pair: tuple[str, int] = ("a", 1)
    table: Mapping[Colour, float] = field(default_factory=dict)


INNER = st.builds(Inner, st.integers(), st.floats(allow_nan=False))
OUTER = st.builds(
    Outer,
    st.text(),
    st.sampled_from(Colour),
    st.none() | INNER,
    st.lists(INNER).map(tuple),
    st.tuples(st.text(), st.integers()),
    st.dictionaries(st.sampled_from(Colour), st.floats(allow_nan=False)),
)
GOOD = {
    "text": "t",
    "colour": "red",
    "inner": {"number": 1, "real": 2},
    "many": [],
    "pair": ["a", 1],
    "table": {"blue": 1.5},
}


@given(OUTER)
def test_round_trip_is_exact(value: Outer) -> None:
    assert parse(Outer, canonical(value)) == value
    assert canonical(parse(Outer, canonical(value))) == canonical(value)


@pytest.mark.parametrize("value", [math.inf, -math.inf], ids=str)
def test_infinity_is_text_so_that_the_json_is_standard(value: float) -> None:
    assert encode(value) == str(value)
    assert decode(Inner, {"number": 1, "real": str(value)}).real == value


def test_nan_survives() -> None:
    assert math.isnan(parse(Inner, canonical(Inner(1, math.nan))).real)


def test_an_integer_is_a_valid_number() -> None:
    assert decode(Outer, GOOD).inner == Inner(1, 2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "unknown key 'extra'"),
        ({"text": 3}, r"Outer\.text is 3, not str"),
        ({"colour": "green"}, r"Outer\.colour is 'green', not one of red, blue"),
        ({"inner": {"number": True, "real": 1}}, r"Outer\.inner\.number is True, not an integer"),
        ({"inner": {"number": 1, "real": "x"}}, r"Outer\.inner\.real is 'x', not a number"),
        ({"inner": {"number": 1}}, r"Outer\.inner lacks the key 'real'"),
        ({"inner": [1, 2]}, r"Outer\.inner is \[1, 2\], not dict"),
        ({"many": [1]}, r"Outer\.many\[0\] is 1, not dict"),
        ({"pair": ["a"]}, r"Outer\.pair has 1 items, not 2"),
        ({"table": {"green": 1.0}}, r"not one of red, blue"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_refuses(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode(Outer, GOOD | change)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff", b"[" * 100_000], ids=["empty", "cut", "bytes", "deep"]
)
def test_refuses_what_is_not_json(text: bytes) -> None:
    with pytest.raises(InputError, match="is not JSON"):
        parse(Outer, text)


def test_an_object_without_json_form_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="set"):
        encode({1, 2})


@dataclass(frozen=True, slots=True)
class Grown:
    """What got a field after texts of it had been written."""

    old: int
    new: Mapping[str, str] | None = field(default=None, metadata=LATER)


def test_a_field_that_came_later_may_lack() -> None:
    assert parse(Grown, '{"old":1}') == Grown(1)
    assert parse(Grown, canonical(Grown(1, {"a": "b"}))) == Grown(1, {"a": "b"})
    with pytest.raises(InputError, match="lacks the key 'old'"):
        parse(Grown, '{"new":null}')


def test_a_default_does_not_make_a_field_optional() -> None:
    with pytest.raises(InputError, match="lacks the key 'many'"):
        decode(Outer, {key: value for key, value in GOOD.items() if key != "many"})
