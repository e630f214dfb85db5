"""Training samples in memory, as small as they can be without loss, or read again each time."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..accuracy.samples import Samples
from ..engine import Array, Feeds
from ..errors import InputError
from ..progress import Progress

LIMIT = 2 << 30  # bytes of samples that are held
_BYTES = 256  # numbers of a raw picture
_LOOK = 32  # samples that tell how large all are
_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Samples by index.

    Attributes:
        rows: What is held of each; None where it is read again each time.
        labels: The right class of each, shape (n,), int64; None without labels.
        dtypes: The type of each input, whatever it is held in.
        samples: Where they come from.
        kept: How they are held, for the user.
    """

    rows: tuple[Feeds, ...] | None
    labels: Array | None
    dtypes: Mapping[str, np.dtype]
    samples: Samples
    kept: str

    def __len__(self) -> int:
        """How many there are."""
        return len(self.samples)

    def feeds(self, index: int) -> Feeds:
        """One sample's arrays, perhaps in a smaller type than the model's."""
        return self.samples[index].feeds if self.rows is None else self.rows[index]


def hold(samples: Samples, *, progress: Progress, limit: int = LIMIT) -> Held:
    """Read all samples once: what has the numbers of raw pictures as uint8, the rest as it is.

    What does not fit becomes float16, which a picture does not suffer by; what does not fit as that
    is only looked through for its labels, and read again for each batch.

    Args:
        samples: The samples.
        progress: Told of each.
        limit: Bytes that may be held.

    Raises:
        InputError: A sample cannot be read, or only some have labels.
    """
    step = max(1, len(samples) // _LOOK)
    looked = [samples[index] for index in range(0, len(samples), step)][:_LOOK]
    size = sum(a.nbytes for s in looked for a in _small(s.feeds).values()) / len(looked)
    total = size * len(samples)
    half = total > limit
    again = total / 2 > limit
    rows: list[Feeds] = []
    labels: list[Array | None] = []
    with progress.stage("read the training data", len(samples)) as tick:
        for index in range(len(samples)):
            sample = samples[index]
            labels.append(sample.label)
            if not again:
                rows.append(_small(sample.feeds, half=half))
            tick()
    how = "read again for each batch" if again else "float16 in memory" if half else "in memory"
    dtypes = {name: array.dtype for name, array in looked[0].feeds.items()}
    kept = f"{len(samples)} samples, {how} ({total / (2 if half else 1) / 2**20:.0f} MiB)"
    return Held(None if again else tuple(rows), _labels(labels), dtypes, samples, kept)


def _small(feeds: Feeds, *, half: bool = False) -> dict[str, Array]:
    """The arrays of one sample as they are held."""
    return {name: _smaller(array, half=half) for name, array in feeds.items()}


def _smaller(array: Array, *, half: bool) -> Array:
    if array.dtype != np.float32 or not array.size:
        return np.array(array)
    if array.min() >= 0 and array.max() < _BYTES:
        raw = array.astype(np.uint8)
        if np.array_equal(raw, array):
            return raw
    if half and np.abs(array).max() < _HALF:
        return array.astype(np.float16)
    return np.array(array)


def _labels(labels: list[Array | None]) -> Array | None:
    """One integer a sample, or None where no sample has one or they are no classes.

    Raises:
        InputError: Only some samples have a label, or one is no whole number.
    """
    known = [np.asarray(label) for label in labels if label is not None]
    if not known:
        return None
    if len(known) < len(labels):
        missing = len(labels) - len(known)
        raise InputError(
            f"{missing} of {len(labels)} training samples have no label",
            "give labels for all of them, or for none",
        )
    odd = next((k for k in known if k.size != 1 or k.dtype.kind not in "iu"), None)
    if odd is not None:
        raise InputError(
            f"training needs one integer label for each sample, got {odd.dtype} {odd.shape}",
            "number the classes from 0, or leave the labels out",
        )
    return np.array([int(label.reshape(-1)[0]) for label in known], np.int64)
