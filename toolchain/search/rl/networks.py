"""Random networks as slots and edges, without weights: what the policy learns on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import prod

import numpy as np

from ...plan import NodeChoice, Precision
from ...slots import Edge, Slot, SlotGraph, Work

Shape = tuple[int, int, int]  # channels, height, width; a sequence has a width of 1

_KINDS: Mapping[str, str] = {
    "Conv": "conv",
    "Gemm": "gemm",
    "MatMul": "gemm",
    "Softmax": "norm",
    "LayerNormalization": "norm",
    "MaxPool": "pool",
    "GlobalAveragePool": "pool",
    "Resize": "pool",
    "Concat": "move",
    "Reshape": "move",
    "Transpose": "move",
}
_SHORT_EDGE = (32, 64, 96, 128, 160, 224, 320)


class Family(StrEnum):
    """A design of networks."""

    PLAIN = "plain"
    RESIDUAL = "residual"
    DEPTHWISE = "depthwise"
    ATTENTION = "attention"
    BRANCHED = "branched"


@dataclass(frozen=True, slots=True)
class _Layer:
    op: str
    kind: str
    work: Work
    reads: tuple[int, ...]


@dataclass(slots=True)
class _Net:
    """A network under construction, for one sample.

    Tensor t + 1 is what layer t writes, and tensor 0 is the input. Batch normalisation, bias and
    ReLU are part of the convolution or matrix product before them.

    Attributes:
        shape: The shape of the tensor at hand.
        at: The tensor at hand.
        layers: What has been written down.
        elements: How many elements each tensor has.
    """

    shape: Shape
    at: int = 0
    layers: list[_Layer] = field(default_factory=list)
    elements: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.elements = [prod(self.shape)]

    def add(
        self,
        op: str,
        work: tuple[int, int],
        reads: Sequence[int],
        *,
        shape: Shape,
        depthwise: bool = False,
    ) -> None:
        """Append a layer that does `work` (multiply-accumulates, weights), and move on to it."""
        macs, weights = work
        read = sum(self.elements[tensor] for tensor in reads)
        kind = "depthwise" if depthwise else _KINDS.get(op, "elementwise")
        self.layers.append(_Layer(op, kind, Work(macs, weights, read, prod(shape)), tuple(reads)))
        self.elements.append(prod(shape))
        self.shape, self.at = shape, len(self.layers)

    def conv(self, out: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> None:
        """A convolution with "same" padding."""
        channels, height, width = self.shape
        shape = (out, -(-height // stride), -(-width // stride))
        weights = channels // groups * out * kernel**2
        work = (weights * shape[1] * shape[2], weights)
        self.add("Conv", work, (self.at,), shape=shape, depthwise=groups > 1)

    def gemm(self, out: int) -> None:
        """A matrix product with weights, over the channels."""
        channels, *places = self.shape
        op = "MatMul" if prod(places) > 1 else "Gemm"
        work = (channels * out * prod(places), channels * out)
        self.add(op, work, (self.at,), shape=(out, *self.shape[1:]))

    def plain(self, op: str, *others: int, shape: Shape | None = None) -> None:
        """A layer without weights that reads the tensor at hand and others."""
        self.add(op, (0, 0), (self.at, *others), shape=shape or self.shape)

    def go(self, at: int, shape: Shape) -> None:
        """Branch off from another tensor."""
        self.at, self.shape = at, shape

    def head(self, classes: int) -> None:
        """The mean over all places, and a classifier."""
        self.plain("GlobalAveragePool", shape=(self.shape[0], 1, 1))
        self.plain("Reshape")
        self.gemm(classes)


def draw_network(
    rng: np.random.Generator, family: Family, offers: Mapping[Precision, frozenset[str]]
) -> SlotGraph:
    """Draw a network.

    Args:
        rng: Where the sizes come from.
        family: Its design.
        offers: Which ops may run in which reduced precision.
    """
    net = _DESIGNS[family](rng)
    readers: dict[int, list[int]] = {}
    for i, layer in enumerate(net.layers):
        for tensor in dict.fromkeys(layer.reads):
            readers.setdefault(tensor, []).append(i)
    edges = tuple(
        Edge(f"t{t}", t - 1, tuple(readers.get(t, ())), elements, is_output=t not in readers)
        for t, elements in enumerate(net.elements)
    )
    return SlotGraph(tuple(_slot(i, layer, offers) for i, layer in enumerate(net.layers)), edges)


def _slot(index: int, layer: _Layer, offers: Mapping[Precision, frozenset[str]]) -> Slot:
    """A slot that may run in what is offered; 4 bits are for weights only."""
    legal = [
        NodeChoice(precision)
        for precision, ops in offers.items()
        if layer.op in ops and (layer.work.weights or precision is not Precision.INT4)
    ]
    name = f"s{index}"
    return Slot(
        name=name,
        op=layer.op,
        parts=((name,),),
        inner=(),
        inputs=tuple(f"t{tensor}" for tensor in layer.reads),
        outputs=(f"t{index + 1}",),
        key=f"{layer.op}|{layer.work}",
        kind=layer.kind,
        work=layer.work,
        choices=(NodeChoice(), *legal),
    )


def _draw(rng: np.random.Generator, values: Sequence[int]) -> int:
    return int(values[int(rng.integers(len(values)))])


def _stem(rng: np.random.Generator, width: int) -> _Net:
    size = _draw(rng, _SHORT_EDGE)
    net = _Net((_draw(rng, (1, 3)), size, size))
    large = size >= 96  # noqa: PLR2004 - pixels; smaller images keep their resolution
    net.conv(width, _draw(rng, (3, 7)) if large else 3, stride=2 if large else 1)
    return net


def _plain(rng: np.random.Generator) -> _Net:
    """VGG: convolutions and pooling."""
    width = _draw(rng, (16, 24, 32, 64))
    net = _stem(rng, width)
    for stage in range(_draw(rng, (2, 3, 4))):
        for _ in range(_draw(rng, (1, 2, 3, 4))):
            net.conv(width * 2**stage, _draw(rng, (1, 3, 3, 5)))
        _, height, side = net.shape
        net.plain("MaxPool", shape=(net.shape[0], -(-height // 2), -(-side // 2)))
    if rng.random() < 0.5:  # noqa: PLR2004 - a fully connected layer for every other
        net.plain("Reshape", shape=(prod(net.shape), 1, 1))
        net.gemm(_draw(rng, (64, 256, 1024)))
        net.gemm(_draw(rng, (10, 100, 1000)))
    else:
        net.head(_draw(rng, (10, 100, 1000)))
    return net


def _residual(rng: np.random.Generator) -> _Net:
    """ResNet: basic or bottleneck blocks."""
    width = _draw(rng, (16, 32, 64))
    net = _stem(rng, width)
    bottleneck = rng.random() < 0.4  # noqa: PLR2004 - the share of deep ResNets
    for stage in range(_draw(rng, (3, 4))):
        for block in range(_draw(rng, (1, 2, 3, 4))):
            _residual_block(
                net, width * 2**stage, 2 if stage and not block else 1, bottleneck=bottleneck
            )
    net.head(_draw(rng, (10, 100, 1000)))
    return net


def _residual_block(net: _Net, width: int, stride: int, *, bottleneck: bool) -> None:
    start, shape = net.at, net.shape
    out = 4 * width if bottleneck else width
    if bottleneck:
        net.conv(width)
    net.conv(width, 3, stride=stride)
    net.conv(out, 1 if bottleneck else 3)
    main, done = net.at, net.shape
    if shape != done:
        net.go(start, shape)
        net.conv(out, stride=stride)
        start = net.at
    net.go(main, done)
    net.plain("Add", start)


def _depthwise(rng: np.random.Generator) -> _Net:
    """MobileNet and EfficientNet: inverted residuals, with or without squeeze-and-excitation."""
    net = _stem(rng, _draw(rng, (16, 24, 32)))
    squeeze, smooth = rng.random() < 0.4, rng.random() < 0.3  # noqa: PLR2004 - shares of designs
    for stage in range(_draw(rng, (3, 4, 5))):
        out = 8 * _draw(rng, (2, 3, 4, 5)) * (stage + 1)
        kernel, expansion = _draw(rng, (3, 5)), _draw(rng, (1, 3, 4, 6))
        for block in range(_draw(rng, (1, 2, 3))):
            start, shape = net.at, net.shape
            if expansion > 1:
                net.conv(shape[0] * expansion)
                _activate(net, smooth=smooth)
            wide, stride = net.shape[0], 1 if block else 2
            net.conv(wide, kernel, stride=stride, groups=wide)
            _activate(net, smooth=smooth)
            if squeeze:
                _squeeze_excite(net, max(8, wide // 16))
            net.conv(out)
            if net.shape == shape:
                net.plain("Add", start)
    net.conv(4 * net.shape[0])
    net.head(_draw(rng, (10, 100, 1000)))
    return net


def _activate(net: _Net, *, smooth: bool) -> None:
    """SiLU as runtimes see it; a ReLU is part of the layer before it."""
    if smooth:
        start = net.at
        net.plain("Sigmoid")
        net.plain("Mul", start)


def _squeeze_excite(net: _Net, squeezed: int) -> None:
    start, shape = net.at, net.shape
    net.plain("GlobalAveragePool", shape=(shape[0], 1, 1))
    net.conv(squeezed)
    net.conv(shape[0])
    net.plain("Sigmoid")
    net.plain("Mul", start, shape=shape)


def _attention(rng: np.random.Generator) -> _Net:
    """Transformer encoders: of patches, or of words."""
    width, tokens = 64 * _draw(rng, (1, 2, 3, 6, 12)), _draw(rng, (16, 64, 128, 197, 384))
    net = _Net((width, tokens, 1))
    for _ in range(_draw(rng, (1, 2, 3, 4, 6))):
        start = net.at
        net.plain("LayerNormalization")
        _self_attention(net)
        net.plain("Add", start)
        start = net.at
        net.plain("LayerNormalization")
        net.gemm(_draw(rng, (2, 4)) * width)
        net.plain("Gelu")
        net.gemm(width)
        net.plain("Add", start)
    net.plain("LayerNormalization")
    if rng.random() < 0.5:  # noqa: PLR2004 - a classifier on every other
        net.head(_draw(rng, (10, 100, 1000)))
    return net


def _self_attention(net: _Net) -> None:
    start, (width, tokens, _) = net.at, net.shape
    heads = width // 64
    made = []
    for _ in range(3):
        net.go(start, (width, tokens, 1))
        net.gemm(width)
        net.plain("Transpose")
        made.append(net.at)
    query, key, value = made
    macs = width * tokens * tokens
    net.add("MatMul", (macs, 0), (query, key), shape=(heads, tokens, tokens))
    net.plain("Softmax")
    net.add("MatMul", (macs, 0), (net.at, value), shape=(width, tokens, 1))
    net.plain("Transpose")
    net.gemm(width)


def _branched(rng: np.random.Generator) -> _Net:
    """Detectors and Inception: branches that are concatenated."""
    net = _stem(rng, _draw(rng, (16, 32, 48)))
    for stage in range(_draw(rng, (2, 3, 4))):
        width = 16 * _draw(rng, (1, 2, 3)) * 2**stage
        net.conv(2 * width, 3, stride=2)
        start, shape, ends = net.at, net.shape, []
        for branch in range(_draw(rng, (2, 2, 3, 4))):
            net.go(start, shape)
            net.conv(width)
            for _ in range(branch):
                net.conv(width, 3)
            ends.append(net.at)
        net.plain("Concat", *ends[:-1], shape=(width * len(ends), *shape[1:]))
        net.conv(2 * width)
    if rng.random() < 0.5:  # noqa: PLR2004 - every other is a detector's head
        channels, height, side = net.shape
        net.plain("Resize", shape=(channels, 2 * height, 2 * side))
        net.conv(64, 3)
        net.conv(85)
    else:
        net.head(_draw(rng, (10, 100, 1000)))
    return net


_DESIGNS: Mapping[Family, Callable[[np.random.Generator], _Net]] = {
    Family.PLAIN: _plain,
    Family.RESIDUAL: _residual,
    Family.DEPTHWISE: _depthwise,
    Family.ATTENTION: _attention,
    Family.BRANCHED: _branched,
}
