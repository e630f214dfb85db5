"""The networks that published latencies are of, by the names that the publications give them."""

import re
from collections.abc import Callable, Mapping

from . import convnets, efficientvit, gpunet, transformers, yolo11
from .layers import Kernel

# Names of one and the same graph: a fit that leaves one out leaves all of them out.
_SAME: Mapping[str, str] = {
    "resnet50": "ResNet-50",
    "bert-99": "BERT-large",
    "Megatron-BERT-large (2:4 sparse, QAT)": "BERT-large",
    "retinanet": "RetinaNet",
}
# What the names of all sizes of a design begin with.
_DESIGNS = ("GPUNet", "EfficientViT", "YOLO11", "Swin")

_Builder = Callable[[str, int, bool], list[Kernel]]

_BUILDERS: Mapping[str, _Builder] = {
    "ResNet-50": lambda _, size, __: convnets.resnet50(size),
    "SE-ResNet50": lambda _, size, __: convnets.resnet50(size, squeeze=True),
    "RetinaNet": lambda _, size, __: convnets.retinanet(size),
    "MobileNetV3": lambda _, size, fuses: convnets.mobilenet_v3_small(size, fuses=fuses),
    "EfficientNetV2": lambda _, size, fuses: convnets.efficientnet_v2_t(size, fuses=fuses),
    "BERT-large": lambda _, length, fuses: transformers.bert_large(length, fuses=fuses),
    **dict.fromkeys(gpunet.CONFIGS, lambda name, _, __: gpunet.gpunet(name)),
    **dict.fromkeys(
        efficientvit.CONFIGS, lambda name, size, _: efficientvit.efficientvit(name, size)
    ),
    **dict.fromkeys(transformers.SWINS, lambda name, size, _: transformers.swin(name, size)),
    **dict.fromkeys(
        (f"YOLO11{scale}" for scale in yolo11.SCALES),
        lambda name, size, _: yolo11.yolo11(name[-1], size),
    ),
}


def model_of(name: str) -> str:
    """The one name of a model that publications call differently."""
    return _SAME.get(name, name)


def design_of(model: str) -> str:
    """What all sizes of a model are called together, such as `YOLO11` for `YOLO11n`."""
    return next((design for design in _DESIGNS if model.startswith(design)), model)


def known(model: str) -> bool:
    """Whether the model is written down here."""
    return model in _BUILDERS


def kernels_of(model: str, size: str, *, fuses: bool) -> list[Kernel]:
    """The kernels that run for one sample.

    Args:
        model: As `model_of` names it.
        size: The input as published: `3x224x224`, `224x224` or `seq=128`; the last number counts.
        fuses: See `Net.fuses`.
    """
    numbers = re.findall(r"\d+", size)
    return _BUILDERS[model](model, int(numbers[-1]) if numbers else 0, fuses)
