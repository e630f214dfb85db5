"""The networks: multiply-accumulates and weights as published, and what a runtime fuses."""

from pathlib import Path

import pytest
from hwc.toolchain.slots import Work
from hwc.tools.published import convnets, efficientvit, gpunet, transformers, yolo11
from hwc.tools.published.layers import Kernel, Net, batched, divisible
from hwc.tools.published.networks import design_of, kernels_of, known, model_of
from hwc.tools.published.rows import Row, read_published

# The table repeats ResNet-50's 4.1; the SENet paper says 3.87 (Hu et al. 2018, table 2).
REPEATED = {"SE-ResNet50": 3.87}


def _published() -> tuple[Row, ...]:
    path = Path(__file__).resolve().parents[3].parent / "shared/facts/published_latency.csv"
    if not path.is_file():
        pytest.skip("the published latencies (shared/facts) are not beside the checkout")
    return read_published(path).rows


def test_multiply_accumulates_are_the_published_ones() -> None:
    checked = set()
    for row in _published():
        if row.gmac:
            found = sum(kernel.work.macs * count for kernel, count in row.kernels.items())
            gmac = REPEATED.get(row.model, row.gmac)
            assert found / row.batch / 1e9 == pytest.approx(gmac, rel=0.05), row.model
            checked.add((row.model, row.size))
    assert len(checked) >= 20


def _weights(kernels: list[Kernel]) -> float:
    return sum(kernel.work.weights for kernel in kernels) / 1e6


# Millions of parameters as published; those of biases and normalisations are a percent or two.
PARAMETERS = {
    "ResNet-50": (convnets.resnet50(), 25.6),
    "SE-ResNet-50": (convnets.resnet50(squeeze=True), 28.1),
    "efficientnetv2_rw_t": (convnets.efficientnet_v2_t(fuses=True), 13.65),
    "GPUNet-0": (gpunet.gpunet("GPUNet-0"), 11.9),
    "GPUNet-1": (gpunet.gpunet("GPUNet-1"), 12.7),
    "GPUNet-2": (gpunet.gpunet("GPUNet-2"), 25.8),
    "GPUNet-D1": (gpunet.gpunet("GPUNet-D1"), 10.6),
    "EfficientViT-B1": (efficientvit.efficientvit("EfficientViT-B1", 224), 9.1),
    "EfficientViT-B2": (efficientvit.efficientvit("EfficientViT-B2", 224), 24),
    "EfficientViT-B3": (efficientvit.efficientvit("EfficientViT-B3", 224), 49),
    "YOLO11n": (yolo11.yolo11("n"), 2.6),
    "YOLO11s": (yolo11.yolo11("s"), 9.4),
    "YOLO11m": (yolo11.yolo11("m"), 20.1),
    "YOLO11l": (yolo11.yolo11("l"), 25.3),
    "YOLO11x": (yolo11.yolo11("x"), 56.9),
    "Swin-T": (transformers.swin("Swin-tiny", 224), 28.3),
    "Swin-B": (transformers.swin("Swin-base-384", 384), 88),
}


@pytest.mark.parametrize(("kernels", "millions"), PARAMETERS.values(), ids=PARAMETERS)
def test_weights_are_the_published_ones(kernels: list[Kernel], millions: float) -> None:
    assert _weights(kernels) == pytest.approx(millions, rel=0.025)


def test_a_convolution_counts_its_padding_stride_and_residual() -> None:
    net = Net(16, 7, 7)
    net.conv(32, 3, stride=2, add=True)
    work = Work(32 * 16 * 9 * 16, 32 * 16 * 9, 16 * 49 + 32 * 16, 32 * 16)
    assert net.kernels == [Kernel("conv", work)]
    assert (net.channels, net.height, net.width) == (32, 4, 4)


@pytest.mark.parametrize(("groups", "kind"), [(1, "conv"), (4, "conv"), (16, "depthwise")], ids=str)
def test_only_one_channel_a_group_is_depthwise(groups: int, kind: str) -> None:
    net = Net(16, 4, 4)
    net.conv(16, 3, groups=groups)
    assert net.kernels[0].kind == kind
    assert net.weights == 16 * 16 // groups * 9


def test_a_batch_repeats_everything_but_the_weights() -> None:
    kernel = Kernel("gemm", Work(10, 20, 30, 40))
    assert batched([kernel, kernel], 3) == {Kernel("gemm", Work(30, 20, 90, 120)): 2}


def test_what_atc_does_not_fuse_are_kernels_of_their_own() -> None:
    fused, apart = (transformers.bert_large(128, fuses=fuses) for fuses in (True, False))
    assert sum(k.work.macs for k in fused) == sum(k.work.macs for k in apart)
    # A transpose before and after, one product more, a softmax and a GELU in each layer.
    assert len(apart) - len(fused) == 24 * 5


@pytest.mark.parametrize(("value", "rounded"), [(19.2, 24), (51.2, 48), (38.4, 40), (3, 8)])
def test_channels_are_rounded_as_efficientnet_has_it(value: float, rounded: int) -> None:
    assert divisible(value) == rounded


def test_names_of_one_graph_are_one_model() -> None:
    assert model_of("resnet50") == model_of("ResNet-50")
    names = ("bert-99", "BERT-large", "Megatron-BERT-large (2:4 sparse, QAT)")
    assert len({model_of(name) for name in names}) == 1
    assert design_of("YOLO11n") == design_of("YOLO11x") == "YOLO11"
    assert design_of("ResNet-50") == "ResNet-50"


def test_a_model_is_found_by_name_and_input() -> None:
    assert not known("rnnt")
    small, large = (kernels_of("BERT-large", f"seq={n}", fuses=True) for n in (128, 384))
    assert sum(k.work.macs for k in large) > 3 * sum(k.work.macs for k in small)
