"""Writes a network down as the kernels that a runtime makes of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ...toolchain.slots import Work


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of a network: its operator class, as `Slot.kind` has it, and its work."""

    kind: str
    work: Work


@dataclass(slots=True)
class Net:
    """A network under construction, for one sample: the tensor at hand, and the kernels so far.

    Every method adds the kernels of one layer and moves on to the tensor that it writes. Batch
    normalisation, bias, activation and the addition of a residual are part of the convolution or
    matrix product before them, as runtimes have it. To branch, set `channels`, `height`, `width`.

    Attributes:
        channels: Channels of the tensor.
        height: Its height; of a sequence the number of rows (tokens).
        width: Its width; of a sequence 1.
        fuses: Whether the runtime fuses attention into one kernel, and activations other than ReLU
            into the kernel before them: TensorRT does, ATC does not.
        kernels: What has been written down.
    """

    channels: int
    height: int
    width: int = 1
    fuses: bool = True
    kernels: list[Kernel] = field(default_factory=list)

    @property
    def elements(self) -> int:
        """Elements of the tensor at hand."""
        return self.channels * self.height * self.width

    @property
    def macs(self) -> int:
        """Multiply-accumulates of everything so far."""
        return sum(kernel.work.macs for kernel in self.kernels)

    @property
    def weights(self) -> int:
        """Weights of everything so far, without biases."""
        return sum(kernel.work.weights for kernel in self.kernels)

    def conv(
        self, out: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, add: bool = False
    ) -> None:
        """A convolution with "same" padding; `add` adds a tensor of the output's shape to it."""
        reads = self.elements
        weights = self.channels // groups * out * kernel**2
        self.height, self.width = -(-self.height // stride), -(-self.width // stride)
        self.channels = out
        macs = weights * self.height * self.width
        work = Work(macs, weights, reads + add * self.elements, self.elements)
        alone = groups > 1 and groups == self.channels  # one channel a group: no matrix product
        self.kernels.append(Kernel("depthwise" if alone else "conv", work))

    def depthwise(self, kernel: int, *, stride: int = 1, add: bool = False) -> None:
        """A depthwise convolution."""
        self.conv(self.channels, kernel, stride=stride, groups=self.channels, add=add)

    def smooth(self) -> None:
        """SiLU, GELU or their piecewise form, after the layer at hand."""
        if not self.fuses:
            self.elementwise()

    def gemm(self, out: int, *, add: bool = False) -> None:
        """A matrix product with weights, over the channels; `add` adds a residual to it."""
        reads, self.channels = self.elements, out
        weights = reads // self._places * out
        work = Work(weights * self._places, weights, reads + add * self.elements, self.elements)
        self.kernels.append(Kernel("gemm", work))

    def matmul(self, *, macs: int, reads: int, writes: int) -> None:
        """A product of two activations; the tensor at hand stays."""
        self.kernels.append(Kernel("gemm", Work(macs, 0, reads, writes)))

    def pool(self, stride: int = 2) -> None:
        """A pooling window."""
        reads = self.elements
        self.height, self.width = -(-self.height // stride), -(-self.width // stride)
        self._without_weights("pool", reads, self.elements)

    def average(self) -> None:
        """The mean over all places."""
        reads, self.height, self.width = self.elements, 1, 1
        self._without_weights("norm", reads, self.elements)

    def upsample(self) -> None:
        """Twice the height and width."""
        reads = self.elements
        self.height, self.width = 2 * self.height, 2 * self.width
        self._without_weights("pool", reads, self.elements)

    def norm(self, *, inputs: int = 1) -> None:
        """A normalisation over the channels of the sum of `inputs` tensors, or a softmax."""
        self._without_weights("norm", inputs * self.elements, self.elements)

    def elementwise(self, *, inputs: int = 1) -> None:
        """One kernel over all elements of `inputs` tensors of the shape at hand."""
        self._without_weights("elementwise", inputs * self.elements, self.elements)

    def softmax(self, elements: int) -> None:
        """A softmax over a tensor that is not the one at hand."""
        self._without_weights("norm", elements, elements)

    def move(self) -> None:
        """A copy into another order: transpose, roll, window partition."""
        self._without_weights("move", self.elements, self.elements)

    def squeeze_excite(self, squeezed: int, *, add: bool = False) -> None:
        """Squeeze and excitation: mean, two small products, and the scaling with a residual."""
        channels, height, width = self.channels, self.height, self.width
        self.average()
        self.conv(squeezed)
        self.conv(channels)
        self.height, self.width = height, width
        self.elementwise(inputs=1 + add)

    @property
    def _places(self) -> int:
        return self.height * self.width

    def _without_weights(self, kind: str, reads: int, writes: int) -> None:
        self.kernels.append(Kernel(kind, Work(0, 0, reads, writes)))


def batched(kernels: Iterable[Kernel], batch: int) -> dict[Kernel, int]:
    """The kernels of a batch of samples, each with how often it occurs."""
    counts: dict[Kernel, int] = {}
    for kernel in kernels:
        work = kernel.work
        many = Work(work.macs * batch, work.weights, work.reads * batch, work.writes * batch)
        key = Kernel(kernel.kind, many)
        counts[key] = counts.get(key, 0) + 1
    return counts


def divisible(value: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` that is at most a tenth below: EfficientNet's rounding."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor
