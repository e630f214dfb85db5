"""What run, verify, bench and build share: a bundle's engine and the original, ready to run."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from ..toolchain.accuracy.conform import conform_all
from ..toolchain.accuracy.stacked import read_npz
from ..toolchain.bundle import MODEL, Bundle, Source
from ..toolchain.engine import Backend, Feeds, Runner
from ..toolchain.errors import BackendError, DeviceError, InputError
from ..toolchain.frontend.load import load_model
from ..toolchain.frontend.shapes import model_inputs
from ..toolchain.inputs import InputSpec
from ..toolchain.timing import Clock, Open, Paired, Timing, paired_openings

_TEMPORARY = "hwc-original-"
_BIG = 1 << 30  # bytes of a bundle beyond which it and the original are not open at once
_POOL = ("threads", "spinning")  # the options of an engine that its threads wait by


def load_engine(bundle: Bundle, backend: Backend, threads: int = 0) -> Runner:
    """Load the engine of a bundle on this machine.

    Raises:
        DeviceError: The bundle is for a device that is not here.
        BackendError: Its engine is still to be built, or the runtime refuses it.
    """
    manifest = bundle.manifest
    require_device(bundle, backend)
    if manifest.engine is None:
        raise BackendError(f"{bundle.path}: has no engine yet", f"run: hwc build {bundle.path}")
    return backend.load(bundle.folder, manifest.engine, threads)


def require_device(bundle: Bundle, backend: Backend) -> None:
    """Refuse work that only the bundle's device can do.

    Raises:
        DeviceError: The device is not here.
    """
    profile = bundle.manifest.profile
    if not backend.runs_here(profile):
        raise DeviceError(
            f"{bundle.path}: is for {profile.title}, which is not here",
            "copy the bundle to the device and give the same command there",
        )


def find_original(bundle: Bundle, given: Path | None) -> Path | None:
    """The original model: as given, else where it was when it was compiled, else None.

    Raises:
        InputError: The given file is not what the bundle was made from.
    """
    if given is None:
        return bundle.original()
    if not given.is_file():
        raise InputError(f"there is no file {given}", "give the model that was compiled")
    model = next((s for s in bundle.manifest.sources if s.role == "model" and s.sha256), None)
    if model is None:
        return given
    for source in bundle.manifest.sources:
        path = given if source is model else _beside(given, source, model)
        if not source.matches(path):
            raise InputError(
                f"{path}: is not what {bundle.path} was made from",
                f"find {source.given} as it was then, or compile again",
            )
    return given


def why_no_original(bundle: Bundle) -> str:
    """Why the recorded original cannot serve: it changed, or it is gone."""
    paths = [Path(source.given) for source in bundle.manifest.sources if source.sha256]
    there = [path for path in paths if path.is_file()]
    if paths and len(there) == len(paths):
        return f"{there[0]} changed since it was compiled"
    return "the original is not at hand"


def _beside(given: Path, source: Source, model: Source) -> Path:
    """Where a file of external data lies, if the model is at `given` now."""
    return given.parent / os.path.relpath(source.given, Path(model.given).parent)


@contextmanager
def original_opener(
    path: Path, bundle: Bundle, backend: Backend, threads: int = 0
) -> Iterator[Open]:
    """Opens the original, built by the bundle's own backend as it is, at its best."""
    manifest = bundle.manifest
    fixed = {}
    if backend.dialect(manifest.profile).static_shapes:
        fixed = {name: array.shape for name, array in golden_feeds(bundle).items()}
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY) as folder:
        copy = Path(folder) / MODEL
        ir.save(load_model(path, inputs=fixed), copy, external_data=f"{MODEL}.data")
        built = backend.build(copy, manifest.profile, copy.parent)
        engine = replace(built, options=manifest.original_options)
        yield lambda: backend.load(copy.parent, engine, threads)


def compare(
    bundle: Bundle, backend: Backend, original: Open, *, threads: int, timing: Timing
) -> Paired:
    """Time the original and the bundle on the first golden input, as `hwc compile` does."""
    manifest, feeds = bundle.manifest, golden_feeds(bundle)
    kept = None if manifest.engine is None else manifest.engine.options
    fair = threads == 1 or same_pool(kept, manifest.original_options)
    return paired_openings(
        original,
        lambda: load_engine(bundle, backend, threads),
        feeds,
        timing,
        together=fair and bundle.size <= _BIG,
    )


def same_pool(a: Mapping[str, str] | None, b: Mapping[str, str] | None) -> bool:
    """Whether two engines wait for work alike.

    Where they do not, the threads of one that spins take the cores from the one that sleeps, and
    the two must not be open at once while they are timed.
    """
    return all((a or {}).get(name) == (b or {}).get(name) for name in _POOL)


def input_specs(bundle: Bundle) -> tuple[InputSpec, ...]:
    """What the deploy graph of a bundle wants to be fed."""
    return model_inputs(ir.load(bundle.model))


def read_feeds(path: Path, bundle: Bundle) -> Feeds:
    """One inference's inputs from an npz file, checked against the model.

    Raises:
        InputError: The file cannot be read, or names, shapes, types or values do not fit.
    """
    return conform_all(read_npz(path), input_specs(bundle), str(path))


def golden_feeds(bundle: Bundle) -> Feeds:
    """The first golden input.

    Raises:
        InputError: The bundle has none.
    """
    golden = bundle.golden()
    if not golden:
        raise InputError(f"{bundle.path}: has no golden inputs", "give an --input")
    return golden[0][0]


def clock_of(bundle: Bundle, threads: int) -> Clock:
    """The clock to judge by: CPU time means nothing on an accelerator, or where threads spin."""
    return Clock.CPU if bundle.manifest.backend == "ort" and threads == 1 else Clock.WALL
