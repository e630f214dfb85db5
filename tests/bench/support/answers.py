"""Agreement of two engines: how often they give the same answer, whether or not it is right."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from hwc.toolchain.engine import Array

from .devkit import Case, Run

_SURE = 0.3  # score from which a detection is one
_SPEECH = 0.5  # probability from which a frame is speech

Outputs = Sequence[Array]


def recording(case: Case, run: Run) -> tuple[Run, list[Array]]:
    """The same engine, and the list that its answers will be in, one array a sample."""
    answer, kept = _ANSWERS[case.task], list[Array]()

    def recorded(feeds: Mapping[str, Array]) -> list[Array]:
        outputs = run(feeds)
        kept.extend(answer(outputs[0]))
        return outputs

    return recorded, kept


def agreement(case: Case, ours: Outputs, theirs: Outputs) -> float:
    """How far the answers of two engines on the same samples agree, from 0 to 1.

    Classes, words and frames: the part that is the same. Embeddings: mean cosine. Detections: of
    the (place, class) pairs that either engine is sure of, the part that both are.
    """
    same = _SAME.get(case.task, _equal)
    return float(np.mean([same(a, b) for a, b in zip(ours, theirs, strict=True)]))


def _argmax(output: Array) -> list[Array]:
    return list(output.argmax(-1))


def _speech(output: Array) -> list[Array]:
    return list(output[:, 0] > _SPEECH)


def _sure(output: Array) -> list[Array]:
    """For each picture the numbers of its (place, class) pairs."""
    scores = output[..., 4:5] * output[..., 5:]
    return [np.flatnonzero(picture > _SURE) for picture in scores]


def _equal(a: Array, b: Array) -> float:
    return float(np.array_equal(a, b))


def _cosine(a: Array, b: Array) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _jaccard(a: Array, b: Array) -> float:
    either = len(np.union1d(a, b))
    return len(np.intersect1d(a, b)) / either if either else 1.0


_ANSWERS: dict[str, Callable[[Array], list[Array]]] = {
    "imagenet": _argmax,
    "cifar": _argmax,
    "kws": _argmax,
    "ocr": _argmax,
    "yolox": _sure,
    "sts": list,
    "speaker": list,
    "vad": _speech,
}
_SAME: dict[str, Callable[[Array, Array], float]] = {
    "sts": _cosine,
    "speaker": _cosine,
    "yolox": _jaccard,
}
