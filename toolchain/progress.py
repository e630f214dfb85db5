"""How long work reports where it is, without knowing who watches."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """Told about stages as they run; a terminal draws them, a library call ignores them."""

    def stage(
        self, name: str, total: int | None = None
    ) -> AbstractContextManager[Callable[[], None]]:
        """Enter a stage of `total` steps (None: unknown); call the result once a step."""
        ...

    def remark(self, text: str) -> None:
        """Say beside the stage that runs how far it has come; the last word is kept."""
        ...

    def note(self, text: str) -> None:
        """Say one line that only a user who asked for detail (-v) wants."""
        ...


class Silent:
    """A Progress that nobody watches."""

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Callable[[], None]]:  # noqa: ARG002 - the protocol's signature
        """Count nothing."""
        yield lambda: None

    def remark(self, text: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""
