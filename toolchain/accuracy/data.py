"""Reading what `--data` and `--eval` name: a file, a folder, or a function of the user."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..engine import Array
from ..errors import InputError, UsageError
from ..inputs import InputSpec
from .conform import conform_all, label_name
from .generated import generated_samples
from .images import EXTENSIONS, ImageSamples, image_samples
from .samples import Sample, Samples, Subset
from .stacked import read_npy, read_npz, stacked_samples


def load_samples(
    spec: str,
    inputs: Sequence[InputSpec],
    *,
    preprocess: str | None = None,
    count: int | None = None,
    seed: int = 0,
) -> Samples:
    """Open a data set.

    Args:
        spec: An `.npz` (arrays named like the inputs, first axis = samples, optional `label`,
            `labels` or `y`); an `.npy` of a model with one input; a folder of npz files (one
            sample a file), of npy files (one named like each input, or one sample a file), or of
            pictures; or `module:function`.
        inputs: What the model wants.
        preprocess: How pictures are made ready (`Preprocess.parse`).
        count: How many samples to take, drawn at random but in order; None takes all.
        seed: For the drawing.

    Raises:
        InputError: The data cannot be read, does not fit the model, or is less than `count`.
        UsageError: The preprocessing is missing, wrong, or given for what are no pictures.
    """
    path = Path(spec)
    if path.is_dir():
        samples = _folder(path, inputs, preprocess)
    elif path.is_file():
        samples = _file(path, inputs)
    elif ":" in spec:
        samples = generated_samples(spec, inputs, count=count)
    else:
        raise InputError(f"no such data: {spec}", "give an npz, a folder or module:function")
    if preprocess is not None and not isinstance(samples, ImageSamples):
        raise UsageError(
            f"--preprocess is for pictures, and {spec} holds arrays, which are taken as they are",
            "leave it out, or give a folder of pictures",
        )
    if not len(samples):
        raise InputError(f"{spec} holds no samples", "give at least one")
    samples[0]  # so that what fits no sample is told before any work is done
    return samples if count is None else _drawn(samples, count, seed=seed, source=spec)


def _drawn(samples: Samples, count: int, *, seed: int, source: str) -> Samples:
    """As many samples as asked, at random: a folder sorted by class gives some of each."""
    if count < 1 or count > len(samples):
        raise InputError(
            f"{source} holds {len(samples)} samples, {count} were asked for",
            f"ask for 1 to {len(samples)}",
        )
    drawn = np.random.default_rng(seed).permutation(len(samples))[:count]
    return Subset(samples, sorted(drawn.tolist()))


def _file(path: Path, inputs: Sequence[InputSpec]) -> Samples:
    """Samples of one npz or npy file."""
    if path.suffix == ".npy" and len(inputs) == 1:
        return stacked_samples({inputs[0].name: read_npy(path)}, inputs, str(path))
    return stacked_samples(read_npz(path), inputs, str(path))


def _folder(path: Path, inputs: Sequence[InputSpec], preprocess: str | None) -> Samples:
    """Samples of a folder, by what lies in it."""
    kinds = {".npy": sorted(path.glob("*.npy")), ".npz": sorted(path.glob("*.npz"))}
    if kinds[".npy"] and kinds[".npz"]:
        raise InputError(f"{path} holds both npy and npz files", "keep one kind")
    if kinds[".npy"]:
        by_name = {file.stem: file for file in kinds[".npy"]}
        if all(spec.name in by_name for spec in inputs):
            arrays = {name: read_npy(file) for name, file in by_name.items()}
            return stacked_samples(arrays, inputs, str(path))
    if any(kinds.values()):
        return FileSamples(kinds[".npy"] or kinds[".npz"], inputs)
    if any(file.suffix.lower() in EXTENSIONS for file in path.rglob("*")):
        return image_samples(path, inputs, preprocess)
    raise InputError(f"{path} holds no npz, npy or picture files", "give a folder with samples")


@dataclass(frozen=True, slots=True)
class FileSamples:
    """One sample a file: an npz with an array for each input, or the npy of the only input."""

    paths: Sequence[Path]
    inputs: Sequence[InputSpec]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        """Read one file."""
        path = self.paths[index]
        arrays = self._arrays(path)
        key = label_name(arrays, self.inputs)
        label = arrays.pop(key) if key else None
        return Sample(conform_all(arrays, self.inputs, str(path)), label)

    def _arrays(self, path: Path) -> dict[str, Array]:
        if path.suffix == ".npz":
            return read_npz(path)
        if len(self.inputs) != 1:
            names = ", ".join(spec.name for spec in self.inputs)
            raise InputError(
                f"{path.parent}: npy files must be named like the inputs {names}",
                "give one npy for each input, or one npz for each sample",
            )
        return {self.inputs[0].name: read_npy(path)}
