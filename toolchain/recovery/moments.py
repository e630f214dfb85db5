"""Second moments of what a layer reads and should write: all that its squared error depends on."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .unfold import Rows

Floats = npt.NDArray[np.float64]


@dataclass(slots=True)
class Moments:
    """Sums over samples, which stream by; memory depends on the layer only.

    Attributes:
        count: Positions so far.
        read: Sum of what is read, shape (groups, depth).
        written: Sum of what is to be written, shape (groups, channels).
        square: Sum of read times read, shape (groups, depth, depth).
        cross: Sum of written times read, shape (groups, channels, depth).
        energy: Sum of squares of what is to be written, shape (groups, channels).
    """

    count: int = 0
    read: Floats = field(default_factory=lambda: np.zeros(()))
    written: Floats = field(default_factory=lambda: np.zeros(()))
    square: Floats = field(default_factory=lambda: np.zeros(()))
    cross: Floats = field(default_factory=lambda: np.zeros(()))
    energy: Floats = field(default_factory=lambda: np.zeros(()))

    def add(self, rows: Rows) -> None:
        """Take in the rows of one sample."""
        x, y = rows.read, rows.written
        self.count += x.shape[1]
        self.read = self.read + x.sum(1, dtype=np.float64)
        self.written = self.written + y.sum(1, dtype=np.float64)
        self.square = self.square + x.swapaxes(1, 2) @ x
        self.cross = self.cross + y.swapaxes(1, 2) @ x
        self.energy = self.energy + (y.astype(np.float64) ** 2).sum(1)

    def error(self, weight: Floats, bias: Floats) -> Floats:
        """Mean squared error of each channel that a weight and a bias leave.

        Args:
            weight: Shape (groups, channels, depth).
            bias: Shape (groups, channels).

        Returns:
            Shape (groups, channels).
        """
        quadratic = (weight @ self.square * weight).sum(-1)
        crossed = (self.cross * weight).sum(-1)
        shift = (weight @ self.read[..., None])[..., 0]
        total = quadratic - 2 * crossed + self.energy + 2 * bias * (shift - self.written)
        mean: Floats = np.maximum(total / self.count + bias**2, 0.0)
        return mean

    def centred(self) -> tuple[Floats, Floats]:
        """Covariance of what is read, and of written and read: what a free bias leaves to fit."""
        read, written = self.read / self.count, self.written / self.count
        square = self.square / self.count - read[:, :, None] * read[:, None]
        return square, self.cross / self.count - written[:, :, None] * read[:, None]

    def given(self, bias: Floats) -> tuple[Floats, Floats]:
        """The same about a bias that stays, shape (groups, channels)."""
        read = self.read / self.count
        return self.square / self.count, self.cross / self.count - bias[:, :, None] * read[:, None]

    def bias(self, weight: Floats) -> Floats:
        """The bias that leaves no mean error (Nagel et al. 2019, section 4.2, empirical).

        As measured: expected output of the original less that of the rounded weight on what it
        really reads; shape (groups, channels).
        """
        return (self.written - (weight @ self.read[..., None])[..., 0]) / self.count
