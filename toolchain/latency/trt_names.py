"""The names that TensorRT gives to layers: which nodes of the model were fused into one."""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass

# "conv + relu", "a || b" side by side, "PWN(a, b)" of pointwise operators; Myelin writes "a+b".
_WIDE = re.compile(r" \+ | \|\| |, |PWN\(")
_TIGHT = re.compile(r"\+")
_PROFILE = re.compile(r" *\[profile +\d+\]$")  # of an engine with several optimisation profiles
_MYELIN = re.compile(r"_myl\d+_\d+$")  # the place of a kernel in Myelin's graph
_COUNTED = re.compile(r"_\d+$")  # sets layers apart that one node, or nodes of one name, made
_AROUND = re.compile(r"^(copied_)?(un)?squeeze(_node)?_after_|^reshape_(before|after)_")
_REFORMAT = re.compile(r"Reformatting CopyNode for (Input|Output) Tensor (\d+) to (.+)", re.DOTALL)
_RANGE = re.compile(r"\{ForeignNode\[(.*?)(?:\.\.\.(.*))?\]\}", re.DOTALL)

UNNAMED = "node_of_"  # TensorRT's parser calls a node without a name after what it writes


@dataclass(frozen=True, slots=True)
class Reformat:
    """A conversion that TensorRT put before or behind a layer.

    Attributes:
        index: Which of the layer's inputs or outputs it converts.
        is_output: Whether that is an output.
        layer: Name of the layer.
    """

    index: int
    is_output: bool
    layer: str


def nodes_in(name: str, known: Container[str]) -> tuple[str, ...]:
    """The known nodes in the name of a layer, in the order in which it names them."""
    name = _PROFILE.sub("", name)
    for spelling in _spellings(name):
        if spelling in known:
            return (spelling,)
    for separator in (_WIDE, _TIGHT):
        pieces = separator.split(name)
        if len(pieces) > 1:
            found = (node for piece in pieces if piece for node in nodes_in(piece, known))
            return tuple(dict.fromkeys(found))
    return ()


def reformat_of(name: str) -> Reformat | None:
    """What the name of a conversion says, or None for any other layer's."""
    match = _REFORMAT.fullmatch(_PROFILE.sub("", name))
    return Reformat(int(match[2]), match[1] == "Output", match[3]) if match else None


def range_of(name: str) -> tuple[str, str] | None:
    """Names of the first and last node (or weight) of a Myelin block; None for any other layer."""
    match = _RANGE.fullmatch(_PROFILE.sub("", name))
    return (match[1], match[2] or match[1]) if match else None


def _spellings(name: str) -> Iterator[str]:
    """What a node may be called that a piece of a layer's name stands for, the likeliest first."""
    plain = name.strip()
    while plain:
        yield plain
        bare = _AROUND.sub("", _MYELIN.sub("", plain))
        yield bare
        yield _COUNTED.sub("", bare)
        if not plain.endswith(")"):
            return
        plain = plain[:-1]
