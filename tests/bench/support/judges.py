"""Metrics of the development models, as `--metric support.judges:NAME` takes them."""

from collections.abc import Mapping, Sequence

import numpy as np
from hwc.toolchain.engine import Array

from .devkit import FOLDER, kit

Outputs = Sequence[Mapping[str, Array]]

_STRIDES = (8, 16, 32)  # of the feature maps whose cells YOLOX's rows are, in this order
_SIDE = 416  # pixels of its input
_SCORE, _OVERLAP = 0.01, 0.65  # as the evaluation kit has them


def detection(outputs: Outputs, labels: Sequence[Array]) -> float:
    """COCO mAP of YOLOX's raw output against boxes in pixels of its input."""
    found = [_detections(_only(each)[0]) for each in outputs]
    real = [rows[rows[:, 4] >= 0] for rows in labels]
    return float(kit().mean_ap(found, [(rows[:, :4], rows[:, 4].astype(int)) for rows in real])[0])


def words(outputs: Outputs, labels: Sequence[Array]) -> float:
    """The part of the words that is read right, letters and digits counting."""
    characters = (FOLDER / "data" / "ppocr_chars.txt").read_text(encoding="utf8").split("\n")
    lines = [_only(each)[0].argmax(-1) for each in outputs]
    read = kit().ctc(lines, characters)
    alnum = kit().alnum
    right = [alnum(text) == alnum(str(label)) for text, label in zip(read, labels, strict=True)]
    return float(np.mean(right))


def speakers(outputs: Outputs, labels: Sequence[Array]) -> float:
    """1 - equal error rate of telling speakers apart, over all pairs of utterances."""
    embeddings = np.concatenate([_only(each) for each in outputs])
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return 1.0 - float(kit().eer(unit, np.array([int(label) for label in labels])))


def _only(outputs: Mapping[str, Array]) -> Array:
    (array,) = outputs.values()
    return array


def _detections(raw: Array) -> list[tuple[float, Array, int]]:
    """Boxes after suppression, of raw rows (centre, log size, objectness, class scores)."""
    grids, strides = [], []
    for stride in _STRIDES:
        y, x = np.mgrid[: _SIDE // stride, : _SIDE // stride]
        grids.append(np.stack([x, y], -1).reshape(-1, 2))
        strides.append(np.full((grids[-1].shape[0], 1), stride))
    scale = np.concatenate(strides)
    centre = (raw[:, :2] + np.concatenate(grids)) * scale
    with np.errstate(over="ignore"):  # a broken model's size may overflow: then it is infinite
        half = np.exp(raw[:, 2:4]) * scale / 2
    boxes = np.concatenate([centre - half, centre + half], 1)
    scores = raw[:, 4:5] * raw[:, 5:]
    row, category = np.where(scores > _SCORE)
    kept: list[tuple[float, Array, int]] = kit().detections(
        boxes[row], scores[row, category], category, _OVERLAP
    )
    return kept
