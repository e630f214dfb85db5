"""Update files as an agent reads them."""

from dataclasses import dataclass

from ..progress import Progress
from .delta import apply as rebuild
from .delta.file import UpdateFile
from .delta.files import Files, Reader, Sink
from .limits import LIMITS, Limits
from .release import Release


@dataclass(frozen=True, slots=True)
class UpdateFiles:
    """An `agent.Applier` of `.hwcu` files.

    Attributes:
        limits: What is accepted of them.
    """

    limits: Limits = LIMITS

    def describe(self, update: Reader, base: Files | None) -> Release:
        """See `agent.Applier.describe`."""
        return rebuild.describe(UpdateFile(update, self.limits), base, self.limits)

    def apply(self, update: Reader, base: Files | None, sink: Sink, progress: Progress) -> None:
        """See `agent.Applier.apply`."""
        opened = UpdateFile(update, self.limits)
        rebuild.apply(opened, base, sink, progress=progress, limits=self.limits)
