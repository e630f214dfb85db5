"""Small changes of training pictures: flips and crops, chosen by a few words."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ..engine import Array
from ..errors import UsageError

_PICTURES = 4  # axes of a batch: N, C, H, W
_HINT = 'write words such as "flip crop=4"'


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What is done to pictures [n, channels, height, width].

    Attributes:
        flip: Whether half of them are mirrored, left to right.
        crop: Zeros around a picture before a part of its own size is cut out at random; 0 for none.
    """

    flip: bool = False
    crop: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read words such as `flip crop=4`; none means that pictures stay as they are.

        Raises:
            UsageError: A word is not known.
        """
        flip, crop = False, 0
        for word in text.split():
            key, _, value = word.partition("=")
            if word == "flip":
                flip = True
            elif key == "crop" and value.isdecimal():
                crop = int(value)
            else:
                raise UsageError(f"augmentation {text!r} has {word!r}", _HINT)
        return cls(flip, crop)

    def __bool__(self) -> bool:
        return self.flip or self.crop > 0

    def check(self, name: str, array: Array) -> None:
        """Refuse what are no pictures.

        Raises:
            UsageError: The batch does not have four axes, or a picture is smaller than its crop.
        """
        if not self or (array.ndim == _PICTURES and min(array.shape[2:]) > self.crop):
            return
        raise UsageError(
            f"augmentation is for pictures [n, channels, height, width], and input {name!r} has "
            f"shape {list(array.shape)}",
            "leave --augment out",
        )

    def apply(self, pictures: Array, rng: np.random.Generator) -> Array:
        """A changed copy of a batch; the random numbers alone decide how."""
        count, _, height, width = pictures.shape
        top = rng.integers(0, 2 * self.crop + 1, (count,))
        left = rng.integers(0, 2 * self.crop + 1, (count,))
        mirrored = rng.integers(0, 2 if self.flip else 1, (count,))
        sides = (self.crop, self.crop)
        padded = np.pad(pictures, ((0, 0), (0, 0), sides, sides))
        made = np.empty_like(pictures)
        for index in range(count):
            row, column = top[index], left[index]
            part = padded[index, :, row : row + height, column : column + width]
            made[index] = part[..., ::-1] if mirrored[index] else part
        return made
