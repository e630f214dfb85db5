"""Stage 4a: the session of a graph at its best on this machine, for the original and for a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from ...backends import ort
from ...backends.ort_options import RUNTIME, options_text
from ...backends.ort_session import DEFAULT, Options
from ...backends.ort_tune import Subject, Trial, tune
from ...toolchain.engine import Engine, Feeds
from ...toolchain.progress import Progress
from .prepare import Prepared
from .target import Target

STAGE = "tune the session"


@dataclass(frozen=True, slots=True)
class Tuner:
    """Tunes sessions where the device is this machine's CPU.

    Attributes:
        feeds: One inference's inputs.
        threads: Threads of one inference; 0: as many as are best.
        progress: Told of each trial.
    """

    feeds: Feeds
    threads: int
    progress: Progress

    def original(self, model: ir.Model) -> Options:
        """The best options of the original, from the runtime's own."""
        return self._tune(model, model, RUNTIME)

    def engine(self, engine: Engine, path: Path, model: ir.Model) -> Engine:
        """The engine with the best options of the graph that lies at `path`."""
        return replace(engine, options=options_text(self._tune(path, model, DEFAULT)))

    def _tune(self, source: ir.Model | Path, model: ir.Model, start: Options) -> Options:
        ops = frozenset(node.op_type for node in model.graph.all_nodes())
        subject = Subject(lambda options: ort.Session(source, options), self.feeds, ops)
        with self.progress.stage(STAGE) as step:
            tuned = tune(subject, self.threads, start=start, told=step)
        for trial in tuned.trials:
            self.progress.note(f"session: {_line(trial)}")
        return tuned.options


def comparable(target: Target) -> bool:
    """Whether the original can be timed here in the runtime of the engine: a CPU's is not."""
    return target.here and target.backend.name == ort.Ort.name


def tune_original(target: Target, prepared: Prepared, threads: int, progress: Progress) -> Options:
    """The best options of the original where it can be timed; the runtime's own elsewhere."""
    if not comparable(target):
        return RUNTIME
    return Tuner(prepared.feeds, threads, progress).original(prepared.original)


def session_note(engine: Engine | None, original: Options) -> str:
    """How the sessions of the engine and of the original were opened, in one line."""
    if engine is None or engine.options is None:
        return ""
    return f"session: {_words(engine.options)}; the original: {_words(options_text(original))}"


def _words(options: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in options.items()) or "runtime defaults"


def _line(trial: Trial) -> str:
    if trial.ratio is None:
        return f"{trial.change}: {trial.why_not or 'nothing to gain'}"
    low, high = trial.ratio.low, trial.ratio.high
    verdict = "kept" if trial.kept else trial.why_not or "not surely faster"
    return f"{trial.change}: {trial.ratio.value:.3f}x ({low:.3f}x to {high:.3f}x), {verdict}"
