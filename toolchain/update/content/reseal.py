"""A bundle whose weights moved: sealed anew, without the figures that are not its own any more."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ...bundle import DIGEST, MANIFEST, MODEL, REPORT, Manifest, read_manifest, seal
from ...engine import Check, Status
from ...errors import IntegrityError
from ...report import Report
from ...verify import NUMBERS
from ..refusal import Code, Refusal

_NOTE = "the weights are near those that were compiled: for its accuracy, run hwc verify --data"


def movable_manifest(folder: Path) -> Manifest | None:
    """The manifest of a bundle whose weights may move; None where there is no bundle.

    Raises:
        Refusal: The bundle is damaged, or has an engine that was built of the exact weights.
    """
    if not ((folder / MANIFEST).is_file() and (folder / DIGEST).is_file()):
        return None
    try:
        manifest = read_manifest(folder)
    except IntegrityError as cause:
        raise Refusal(Code.DIGEST, f"{folder}: {cause.message}", cause.hint) from cause
    engine = manifest.engine
    if engine is not None and MODEL not in engine.files:
        message = f"{folder}: its engine {engine.files[0]} was built of the exact weights"
        hint = "take the bundle as it was before hwc build, or the strategy hash"
        raise Refusal(Code.STRATEGY, message, hint)
    return manifest


def reseal(folder: Path, manifest: Manifest) -> None:
    """Seal a bundle whose weights moved; its report promises nothing of their accuracy any more.

    Args:
        folder: Of the bundle; its `bundle.json` goes.
        manifest: Of the bundle that it was.
    """
    path = folder / REPORT
    if path.is_file():
        old = Report.from_json(path.read_bytes())
        report = replace(
            old,
            compiled=replace(old.compiled, quality=None),
            drop=None,
            golden=None,
            checks=_still_true(old.checks),
            notes=(*(note for note in old.notes if note != _NOTE), _NOTE),
        )
        path.write_text(report.to_json(), encoding="utf-8")
    seal(folder, replace(manifest, checks=_still_true(manifest.checks)))


def _still_true(checks: Iterable[Check]) -> tuple[Check, ...]:
    """All but a passed check of the outputs."""
    return tuple(c for c in checks if c.name != NUMBERS or c.status is Status.OWED)
