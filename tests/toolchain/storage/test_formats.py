"""Names of storage formats, and what they take."""

import pytest
from hwc.toolchain.errors import UsageError
from hwc.toolchain.storage.formats import Format, Group, Kind

NAMES = [
    *(
        "int2",
        "int8",
        "int4/tensor",
        "int4/32",
        "int3/128",
        "lsq4",
        "lsq2/64",
        "log4",
        "log3/tensor",
    ),
    *("float4e2m1", "float6e2m3", "float6e3m2/32", "float8e4m3", "float8e5m2/tensor"),
    *("codebook2", "codebook8", "codebook4/channel"),
    *("lsq3~50", "lsq3~50x4", "int8/tensor~95", "float6e2m3/32~5x16"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_what_it_reads_as(name: str) -> None:
    assert str(Format.parse(name)) == name


@pytest.mark.parametrize(
    ("long", "short"),
    [("int4/channel", "int4"), ("codebook3/tensor", "codebook3"), ("log4/channel", "log4")],
)
def test_what_goes_without_saying_is_not_said(long: str, short: str) -> None:
    assert str(Format.parse(long)) == short


@pytest.mark.parametrize(
    "name",
    [
        *("", "int", "int1", "int9", "int4/", "int4/31", "int4/129", "int4/row", "int4 ", "INT4"),
        *("float4", "float8e2m1", "float4e3m0", "float4", "log4e2m1", "codebook4/32", "uint4"),
        *("lsq3~", "lsq3~0", "lsq3~96", "lsq3~50x1", "lsq3~50x17", "lsq3x4", "codebook3~50"),
    ],
)
def test_what_is_no_format_is_refused_and_the_hint_teaches(name: str) -> None:
    with pytest.raises(UsageError, match="no storage format") as caught:
        Format.parse(name)
    assert "codebook4" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("int4", 576 // 2 + 2 * 16),
        ("int4/tensor", 576 // 2 + 2),
        ("int3", 576 * 3 // 8 + 2 * 16),
        ("int4/32", 576 // 2 + 2 * 16 * 2),  # 36 deep: two blocks a channel
        ("codebook4", 576 // 2 + 2 * 16),
        ("codebook2/channel", 576 // 4 + 2 * 4 * 16),
        ("int4~50", 576 // 4 + 576 // 8 + 2 * 16),
        ("int4~50x4", 576 // 4 + 576 // 32 + 2 * 16),
        ("int4~75", 576 // 8 + 59 + 2 * 16),  # 0.8113 bits a mark: 58.4 bytes
    ],
)
def test_bytes_are_those_of_codes_and_what_is_shared(name: str, expected: int) -> None:
    assert Format.parse(name).bytes(576, 16) == expected


def test_a_format_built_by_hand_is_held_to_the_same_rules() -> None:
    with pytest.raises(UsageError):
        Format(Kind.CODEBOOK, 4, Group.BLOCK, 32)
    with pytest.raises(UsageError):
        Format(Kind.INT, 4, Group.CHANNEL, 32)
