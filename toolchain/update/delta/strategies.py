"""The ways of making an update, and the choice among them."""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from ...output import atomic_output, scratch_folder
from ...progress import Progress, Silent
from ..content.describe import read_release
from ..refusal import Code, Refusal, short
from ..release import Release
from .files import Folder
from .header import Strategy
from .make import Options, Written, write
from .match import places
from .quantize import PROVENANCE, approximate

_ALMOST = 1 << 10  # bytes that a delta must save over the full update, which needs no base,
_WORTH = 0.99  # and of which share it may be
_TOLD, _LARGE = 0.1, 0.75  # shares of a release: with less told from the base than the one, or with
# a larger delta than the other, the full update may be as small
_NAMED = 5  # tensors that a refusal names


@dataclass(frozen=True, slots=True)
class Made:
    """An update file that was written.

    Attributes:
        path: The file.
        size: Its bytes.
        strategy: How it was made.
        why: One line: why so, and what it saves.
        base: Digest of the release that it starts from; empty where it needs none.
        release: The release that it leads to; of a quantized update, one near the new release,
            whose agreement with both is for the caller to measure.
    """

    path: Path
    size: int
    strategy: Strategy
    why: str
    base: str
    release: Release


def make(
    new: Folder,
    old: Folder | None,
    target: Path,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Made:
    """Make the update file that leads from the release `old`, or from none, to `new`.

    Args:
        new: The release to come; every file is compared with its digest.
        old: The release that devices have; None where they may have none.
        target: The file to write; it is whole or absent, and replaces what was there.
        options: How; by default the smallest that leads to exactly these bytes.
        progress: Told of every file.

    Raises:
        Refusal: The strategy cannot make this update, or a release is damaged.
        OutputError: The file cannot be written.
    """
    maker = _Maker(new, old, options or Options(), progress or Silent())
    maker.check()
    with atomic_output(target, force=True) as stage:
        if old is not None and maker.options.strategy is Strategy.QUANTIZED:
            return maker.quantized(old, target, stage)
        strategy, size, why = maker.write(stage)
    base = old.release.digest if old is not None and strategy is not Strategy.FULL else ""
    return Made(target, size, strategy, why, base, new.release)


def changed_layers(new: Release, old: Release) -> list[str]:
    """Names of the tensors that are new, or have other bytes than those of their name in `old`."""
    known = {(place.tensor.name, place.tensor.sha256) for place in places(old)}
    return [
        place.tensor.name
        for place in places(new)
        if (place.tensor.name, place.tensor.sha256) not in known
    ]


@dataclass(frozen=True, slots=True)
class _Maker:
    new: Folder
    old: Folder | None
    options: Options
    progress: Progress

    def check(self) -> None:
        """Refuse what the strategy cannot do, and releases that are not what they say."""
        strategy = self.options.strategy
        if self.old is None and strategy not in (Strategy.FULL, Strategy.AUTO):
            message = f"the strategy {strategy.value} needs the release that devices have"
            raise Refusal(Code.STRATEGY, message, "name it, or make the full update")
        if not self.options.share > 0:
            raise Refusal(Code.STRATEGY, f"steps of {self.options.share}", "take 0.5")
        if strategy is Strategy.INCREMENTAL and self.old is not None:
            _check_layers(changed_layers(self.new.release, self.old.release), self.options.layers)
        for folder in (self.new, self.old):
            if folder is not None:
                read_release(folder.root)  # compares every file and tensor with its digest

    def write(self, stage: Path) -> tuple[Strategy, int, str]:
        """Write the update file; returns how, its size, and why so."""
        strategy = self.options.strategy
        if strategy is not Strategy.AUTO:
            size = self._write(strategy, stage).size
            return strategy, size, f"asked for: {self._share(size)}"
        if self.old is None:
            size = self._write(Strategy.FULL, stage).size
            return Strategy.FULL, size, f"there is no base: {self._share(size)}"
        made = self._write(Strategy.HASH, stage)
        whole = self.new.release.size
        if made.from_base > _TOLD * whole and made.size < _LARGE * whole:
            return Strategy.HASH, made.size, self._share(made.size)
        return self._smaller(made.size, stage)

    def quantized(self, old: Folder, target: Path, stage: Path) -> Made:
        """Write the update to a release near the new one, or to the new one if it is such."""
        if PROVENANCE in self.new.release.provenance:
            return self._to_near(self.new, old, target, stage)
        with scratch_folder("hwc-quantized-") as root:
            approximate(self.new, old, root, self.options.share)
            with Folder(root) as near:
                return self._to_near(near, old, target, stage)

    def _to_near(self, near: Folder, old: Folder, target: Path, stage: Path) -> Made:
        size = write(near, old, stage, self.options, self.progress).size
        why = f"asked for: {self._share(size)}; it leads to {short(near.release.digest)}"
        return Made(target, size, Strategy.QUANTIZED, why, old.release.digest, near.release)

    def _smaller(self, size: int, stage: Path) -> tuple[Strategy, int, str]:
        """Choose between the delta that was written and the full update."""
        other = stage.with_suffix(".full")
        try:
            full = self._write(Strategy.FULL, other).size
            if size <= min(full - _ALMOST, _WORTH * full):
                return Strategy.HASH, size, f"{self._share(size)}, full would be {full} B"
            other.replace(stage)
        finally:
            other.unlink(missing_ok=True)
        why = f"full has {full} B and needs no base, a delta would have {size} B"
        return Strategy.FULL, full, f"{why}: the weights have little to do with the old ones"

    def _write(self, strategy: Strategy, target: Path) -> Written:
        old = None if strategy is Strategy.FULL else self.old
        options = replace(self.options, strategy=strategy)
        return write(self.new, old, target, options, self.progress)

    def _share(self, size: int) -> str:
        whole = self.new.release.size
        return f"{size} B, {100 * size / max(whole, 1):.2g} % of the release's {whole} B"


def _check_layers(changed: list[str], layers: tuple[str, ...]) -> None:
    if not layers:
        message = "the strategy incremental needs the names of the layers that may change"
        raise Refusal(Code.STRATEGY, message, "name them, or take the strategy hash")
    strange = [name for name in changed if not any(_is_of(name, layer) for layer in layers)]
    if strange:
        more = f" and {len(strange) - _NAMED} more" if len(strange) > _NAMED else ""
        message = f"{', '.join(strange[:_NAMED])}{more} changed, named was {', '.join(layers)}"
        raise Refusal(Code.STRATEGY, message, "name them too, or take the strategy hash")


def _is_of(tensor: str, layer: str) -> bool:
    """Whether a tensor belongs to a layer: by its name, a pattern, or as `layer.weight` does."""
    return tensor.startswith((f"{layer}.", f"{layer}/")) or fnmatchcase(tensor, layer)
