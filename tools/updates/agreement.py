"""How far a release near the new one agrees with it, and with the old one: measured, or refused."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import click
import numpy as np
import onnx_ir as ir

from ...toolchain.accuracy.counted import Top1
from ...toolchain.accuracy.data import load_samples
from ...toolchain.accuracy.kinds import Kind, kind_of
from ...toolchain.accuracy.metrics import EXAMPLES
from ...toolchain.accuracy.samples import Sample, Samples, each
from ...toolchain.bundle import DIGEST, MANIFEST, Bundle, Manifest
from ...toolchain.engine import Engine, Feeds, Runner
from ...toolchain.errors import BackendError
from ...toolchain.frontend.shapes import model_inputs
from ...toolchain.inputs import InputSpec
from ...toolchain.update.content.describe import read_release
from ...toolchain.update.delta.files import Folder
from ...toolchain.update.delta.quantize import approximate
from ...toolchain.update.refusal import Code, Refusal
from ...toolchain.update.release import Release
from ...toolchain.verify import compare_outputs
from ..backends import open_backend
from ..stages.prepare import RANDOM_SAMPLES, RandomSamples
from .health import golden_cosine

TOP1, COSINE = "top-1", "cosine"
SHARE, LEAST = 0.5, 0.97
NOT_MEASURED = "agreement: not measured"
_RUNTIME = "ort"
_SMALLER = "take smaller steps, such as 0.25, or make an exact update"
_UNMEASURED = "give inputs that it takes with --data, or do without by --min-agreement 0"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a near release is to be.

    Attributes:
        share: Of the root mean square of a tensor's change, that its steps have at most.
        data: What it is measured on, as `--data` says; empty: the golden inputs of the new release.
        least: The agreement with the new release that it must have; 0 asks for nothing.
    """

    share: float = SHARE
    data: str = ""
    least: float = LEAST

    @classmethod
    def of(cls, share: float | None, data: str | None, least: float | None) -> Self:
        """From options, None where one was not given."""
        return cls(SHARE if share is None else share, data or "", LEAST if least is None else least)


@dataclass(frozen=True, slots=True)
class Agreement:
    """The output of a near release that agrees least with that of the new one.

    Attributes:
        output: Its name.
        measure: `top-1`: the share of inputs with the same most likely class; `cosine`: the lowest.
        new: Agreement with the new release.
        old: Agreement with the old one; None where that takes other inputs.
        nearer_old: Whether its numbers are nearer to those of the old release, by the lowest
            cosine: then what was trained is lost, even if the classes say otherwise.
        inputs: What it was measured on.
    """

    output: str
    measure: str
    new: float
    old: float | None
    nearer_old: bool
    inputs: str

    def __str__(self) -> str:
        with_old = "not comparable" if self.old is None else self._figure(self.old)
        return (
            f"{self.measure} agreement of {self.output}: {self._figure(self.new)} with the new "
            f"release, {with_old} with the old one ({self.inputs})"
        )

    def _figure(self, value: float) -> str:
        return f"{value:.2%}" if self.measure == TOP1 else f"{value:.6g}"


def options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `--data` and `--min-agreement` to a command."""
    for option in (
        click.option(
            "--min-agreement",
            "least",
            type=click.FloatRange(0, 1),
            help=f"Of a near release with the new one, or nothing is written. [{LEAST}]",
        ),
        click.option(
            "--data",
            help="Measure on this: an npz, a folder or module:function. [the golden inputs]",
        ),
    ):
        function = option(function)
    return function


def near_release(new: Folder, old: Folder, target: Path, asked: Asked) -> Agreement | None:
    """Write the release near `new` to the empty folder `target`, and measure how near it is.

    Returns:
        The agreement; None where it cannot be measured, and none was asked for.

    Raises:
        Refusal: It agrees too little, or devices would refuse it.
        InputError: The data does not fit the model.
    """
    if not asked.share > 0:
        raise Refusal(Code.STRATEGY, f"steps of {asked.share}", f"take {SHARE}")
    read_release(new.root)  # compares every file and tensor with its digest
    release = approximate(new, old, target, asked.share)
    with ExitStack() as stack:
        try:
            near, exact, before = (_opened(f, stack) for f in (target, new.root, old.root))
            found = _compared(near, exact, before, _samples(exact, asked.data))
        except BackendError as cause:
            if asked.least == 0:
                return None
            message = f"the near release cannot be measured: {cause.message}"
            raise Refusal(Code.STRATEGY, message, _UNMEASURED) from cause
        if asked.least > 0:
            _check(found, asked.least)
            _check_golden(near, release)
    return found


@dataclass(frozen=True, slots=True)
class _Model:
    """The model of a release, in ONNX Runtime.

    Attributes:
        run: Runs it.
        inputs: What it wants to be fed.
        golden: Inputs of its bundle, with the outputs of the original.
    """

    run: Runner
    inputs: tuple[InputSpec, ...]
    golden: tuple[tuple[Feeds, Feeds], ...] = ()

    def eats(self, other: "_Model") -> bool:
        """Whether what the other one is fed can be fed to this one."""
        return {_feed(spec) for spec in self.inputs} <= {_feed(spec) for spec in other.inputs}


def _feed(spec: InputSpec) -> tuple[object, ...]:
    """What must be equal of two inputs; the names of free dimensions need not."""
    return spec.name, spec.dtype, tuple(d if isinstance(d, int) else None for d in spec.shape)


def _opened(root: Path, stack: ExitStack) -> _Model:
    """Open the graph of a release in ONNX Runtime: an engine for another device does not run here.

    Raises:
        BackendError: It has no ONNX model, or several, or one that cannot be run.
    """
    release = Folder(root).release
    names = [file.path for file in release.files]
    if {MANIFEST, DIGEST} <= set(names):
        bundle = stack.enter_context(Bundle.open(root))
        return _Model(*_session(bundle.model, bundle.manifest), bundle.golden())
    models = [name for name in names if name.endswith(".onnx")]
    if len(models) != 1:
        message = f"{release.product} {release.version} has {len(models)} ONNX models, not one"
        raise BackendError(message)
    return _Model(*_session(root / models[0]))


def _session(model: Path, manifest: Manifest | None = None) -> tuple[Runner, tuple[InputSpec, ...]]:
    kept = None
    if manifest is not None and manifest.backend == _RUNTIME and manifest.engine is not None:
        kept = manifest.engine.options
    runner = open_backend(_RUNTIME).load(model.parent, Engine((model.name,), "", "", kept))
    return runner, model_inputs(ir.load(model))


def _samples(model: _Model, data: str) -> tuple[Samples, str]:
    """What to compare on, and its name."""
    if data:
        samples = load_samples(data, model.inputs)
        return samples, f"{len(samples)} samples of {data}"
    if model.golden:
        feeds = tuple(Sample(inputs) for inputs, _ in model.golden)
        return feeds, f"{len(feeds)} golden inputs"
    return RandomSamples(model.inputs, RANDOM_SAMPLES), f"{RANDOM_SAMPLES} random inputs"


@dataclass(frozen=True, slots=True)
class _Scores:
    """How far the outputs of some samples are those of another release.

    Attributes:
        kinds: What each output holds.
        same: The share of each sample's batch with the same most likely class.
        cosines: Of each sample's output.
    """

    kinds: Mapping[str, Kind]
    same: Mapping[str, list[float]]
    cosines: Mapping[str, list[float]]

    @classmethod
    def of(cls, kinds: Mapping[str, Kind]) -> Self:
        """Of no sample yet."""
        return cls(kinds, {name: [] for name in kinds}, {name: [] for name in kinds})

    def add(self, made: Feeds, wanted: Feeds) -> None:
        """Compare the outputs of a sample; one that is not there agrees in nothing."""
        for name, kind in self.kinds.items():
            self.cosines[name].append(
                compare_outputs({name: wanted[name]}, made).cosine if name in wanted else 0.0
            )
            if kind is Kind.CLASSES:
                there = name in wanted
                score = Top1().tally(made[name], wanted[name])[0] if there else 0.0
                self.same[name].append(float(score))

    def figure(self, name: str) -> float:
        """The agreement of an output."""
        return float(np.mean(self.same[name])) if self.same[name] else min(self.cosines[name])


def _compared(near: _Model, new: _Model, old: _Model, on: tuple[Samples, str]) -> Agreement:
    """Run all three on all samples."""
    samples, inputs = on
    examples = [new.run(sample.feeds) for sample in islice(each(samples), EXAMPLES)]
    kinds = {name: kind_of([outputs[name] for outputs in examples]).kind for name in examples[0]}
    with_new, with_old = _Scores.of(kinds), _Scores.of(kinds)
    comparable = old.eats(new)
    for sample in each(samples):
        made = near.run(sample.feeds)
        with_new.add(made, new.run(sample.feeds))
        if comparable:
            with_old.add(made, old.run(sample.feeds))
    worst = min(kinds, key=with_new.figure)
    return Agreement(
        output=worst,
        measure=TOP1 if kinds[worst] is Kind.CLASSES else COSINE,
        new=with_new.figure(worst),
        old=with_old.figure(worst) if comparable else None,
        nearer_old=comparable and min(with_old.cosines[worst]) > min(with_new.cosines[worst]),
        inputs=inputs,
    )


def _check(found: Agreement, least: float) -> None:
    """Refuse what is too far from the new release, or nearer to the old one."""
    if not found.new >= least:
        what = f"the near release is too far from the new one, {least:g} is asked: {found}"
    elif found.nearer_old:
        what = f"the near release is nearer to the old one: {found}"
    else:
        return
    raise Refusal(Code.STRATEGY, what, _SMALLER)


def _check_golden(near: _Model, release: Release) -> None:
    """Refuse what every device would refuse when it tries it."""
    if release.golden is None or not near.golden:
        return
    least, found = float(release.golden.agreement), golden_cosine(near.run, near.golden)
    if found < least:
        message = f"the near release's golden outputs have cosine {found:.5f}, {least:g} is asked"
        raise Refusal(Code.STRATEGY, message, _SMALLER)
