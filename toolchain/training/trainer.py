"""The training loop: updates until steps or time are used up, with ten looks at what was learnt."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..codec import canonical
from ..frontend.torch_graph import Tensor, import_torch, tensors_of
from ..progress import Progress, Silent
from .checkpoint import FORMAT, Header, read_checkpoint, write_checkpoint
from .curve import Point, Stop, Trained
from .recipe import Recipe
from .schedule import learning_rate
from .task import Task
from .update import Shaping, Updater

_LOOKS = 10
_SAVE_EVERY = 30.0  # seconds
_SMOOTH = 0.9  # of the loss that is shown and watched
_FIRST = 10  # updates that tell how large losses are
_EXPLODED = 10.0  # times the least of these; or times 1, as of a useless model, if that is more


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a run ends and what it may use; the recipe's steps end it in any case.

    Attributes:
        seconds: Time for training, in all sittings together; None for no limit. The learning rate
            follows the clock where that is ahead of the steps.
        threads: For torch; 0 leaves it as it is.
        checkpoint: A file to go on from, and to keep the state in; None for none.
    """

    seconds: float | None = None
    threads: int = 0
    checkpoint: Path | None = None


def train(
    task: Task,
    recipe: Recipe,
    *,
    shaping: Shaping | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train a student; it has the best state afterwards (`Student.to_model` writes it back).

    The best is that of the lowest loss on the held-out samples, the beginning included: training
    never makes it worse. Without such samples it is the last one that was looked at. A run that is
    interrupted, by Ctrl-C too, goes on from its checkpoint, and without a limit on time it gives
    what it would have given.

    Args:
        task: Who learns what from whom.
        recipe: The numbers; those that the task was made with.
        shaping: What else happens to weights.
        limits: Where it ends.
        progress: Told of each update; of each second where time is limited.

    Raises:
        InputError: The checkpoint is damaged, or a sample cannot be read.
        OutputError: The checkpoint cannot be written.
    """
    limits, progress, shaping = limits or Limits(), progress or Silent(), shaping or Shaping()
    updater = Updater.of(task, recipe, shaping)
    run = _Run(task, updater, limits, progress, task.digest(canonical(recipe), shaping))
    run.resume()
    with _threads(limits.threads):
        run.ask_ahead()
        with progress.stage("train", run.total) as tick:
            run.show(tick)
            return run.finish(run.go(tick))


@dataclass(slots=True, eq=False)
class _Run:
    """A run and how far it has come."""

    task: Task
    updater: Updater
    limits: Limits
    progress: Progress
    digest: str
    step: int = 0
    before: float = 0.0  # seconds of earlier sittings
    begun: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    best: float | None = None
    curve: list[Point] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)  # losses since the last look
    first: list[float] = field(default_factory=list)
    smooth: float | None = None
    kept: dict[str, Tensor] = field(default_factory=dict)
    kept_step: int = 0
    shown: int = 0

    @property
    def total(self) -> int:
        """What is counted for the user: seconds where the clock ends the run, else updates."""
        seconds = self.limits.seconds
        return self.updater.recipe.steps if seconds is None else max(1, round(seconds))

    def show(self, tick: Callable[[], None]) -> None:
        """Tell how far it has come."""
        come = min(self.total, round(self._over() * self.total))
        for _ in range(come - self.shown):
            tick()
        self.shown = max(self.shown, come)

    def ask_ahead(self) -> None:
        """Ask the teacher about every sample at once, where that is less work than batch by batch.

        What it says of a sample depends in the last digits on the samples beside it. A run that is
        to go on as if it had not been interrupted must not depend on which batch came first.
        """
        lessons, batches, recipe = self.task.lessons, self.task.batches, self.updater.recipe
        if self.limits.seconds is not None or not lessons.remember:
            return
        lessons.remember = recipe.steps * batches.size > len(batches.held)
        if not lessons.remember:
            return
        with self.progress.stage("ask the teacher", len(batches.held)) as tick:
            for part in batches.once():
                with self.updater.computing():
                    lessons.of(part)
                for _ in range(len(part)):
                    tick()

    def go(self, tick: Callable[[], None]) -> tuple[Stop, str]:
        """Make updates; why they ended, and what to say about it."""
        if not self.curve:
            self._look(0.0)
        with closing(self.task.batches.since(self.step)) as batches:
            for parts in batches:
                over = self._over()
                if over >= 1:
                    break
                loss = self.updater.update(parts, self.step, over)
                if self._diverges(loss):
                    return Stop.DIVERGED, self._blame(loss, over)
                self.step += 1
                self.show(tick)
                after = self._over()
                self._tell(after)
                if int(after * _LOOKS) > int(over * _LOOKS):
                    self._look(over)
                if time.monotonic() - self.saved > _SAVE_EVERY:
                    self._save()
        done = self.step >= self.updater.recipe.steps
        return (Stop.STEPS if done else Stop.TIME), ""

    def finish(self, ended: tuple[Stop, str]) -> Trained:
        """Give the student the state that was kept, and say how it went."""
        stop, note = ended
        self.task.student.load(self.kept)
        self.task.student.graph.module.eval()
        self._save()
        curve = tuple(self.curve)
        return Trained(self.step, self._seconds(), stop, curve, self.kept_step, note)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one of this run."""
        path = self.limits.checkpoint
        found = None if path is None else read_checkpoint(path, self.digest)
        if found is None:
            return
        header, arrays = found
        self.updater.load(arrays)
        tensors = tensors_of(arrays)
        start = "kept."
        self.kept = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        self.first, self.recent = arrays["losses.first"].tolist(), arrays["losses.recent"].tolist()
        self.smooth = float(arrays["losses.smooth"][0]) if len(arrays["losses.smooth"]) else None
        self.step, self.before = header.step, header.seconds
        self.best, self.kept_step = header.best, header.kept
        self.curve = list(header.curve)
        self.progress.note(f"training goes on after {self.step} steps")

    def _save(self) -> None:
        """Keep the state in the checkpoint."""
        self.saved = time.monotonic()
        if self.limits.checkpoint is None:
            return
        arrays = self.updater.state()
        arrays |= {f"kept.{name}": tensor.numpy() for name, tensor in self.kept.items()}
        smooth = [] if self.smooth is None else [self.smooth]
        for name, values in {"first": self.first, "recent": self.recent, "smooth": smooth}.items():
            arrays[f"losses.{name}"] = np.array(values, np.float64)
        curve = tuple(self.curve)
        header = Header(
            format=FORMAT,
            run=self.digest,
            step=self.step,
            seconds=self._seconds(),
            best=self.best,
            kept=self.kept_step,
            curve=curve,
        )
        write_checkpoint(self.limits.checkpoint, header, arrays)

    def _seconds(self) -> float:
        return self.before + time.monotonic() - self.begun

    def _over(self) -> float:
        """The share of the run that is over."""
        over = self.step / self.updater.recipe.steps
        if self.limits.seconds is not None:
            over = max(over, self._seconds() / max(self.limits.seconds, 1e-9))
        return over

    def _diverges(self, loss: float) -> bool:
        """Whether a loss means that nothing more can be learnt."""
        if not np.isfinite(loss):
            return True
        self.recent.append(loss)
        if len(self.first) < _FIRST:
            self.first.append(loss)
        old = loss if self.smooth is None else self.smooth
        self.smooth = _SMOOTH * old + (1.0 - _SMOOTH) * loss
        return self.smooth > _EXPLODED * max(min(self.first), 1.0)

    def _blame(self, loss: float, over: float) -> str:
        """What to say of a run that diverged."""
        rate = learning_rate(self.updater.recipe, over)
        what = f"rose to {loss:.3g}" if np.isfinite(loss) else "or a gradient was not finite"
        return (
            f"training stopped at step {self.step} (learning rate {rate:.2g}), where the loss "
            f"{what}: the state of step {self.kept_step} was kept; a lower lr may go on"
        )

    def _look(self, over: float) -> None:
        """Judge the state that would be returned, and keep it if it is the best so far.

        While it is still made sparse each is kept, and none is one to beat: it has fewer zeros.
        """
        student = self.task.student
        now = student.state()
        student.load(self.updater.average or now)
        self.updater.apply_masks()
        validation, accuracy = self._judge()
        chooses = self.updater.chooses(over)
        if validation is None or self.best is None or validation < self.best or not chooses:
            self.best, self.kept = validation if chooses else None, student.state()
            self.kept_step = self.step
        student.load(now)
        loss = float(np.mean(self.recent)) if self.recent else None
        rate = learning_rate(self.updater.recipe, over)
        point = Point(self.step, self._seconds(), rate, loss, validation, accuracy)
        self.curve.append(point)
        self.recent.clear()

    def _judge(self) -> tuple[float | None, float | None]:
        """Loss and accuracy on the held-out samples."""
        if self.task.held_out is None:
            return None, None
        torch, loss = import_torch(), self.task.loss
        self.task.student.graph.module.eval()
        total, hits, count = 0.0, 0, 0
        labels = self.task.held_out.held.labels
        for part in self.task.held_out.once():
            with torch.no_grad(), self.updater.computing():
                wanted = self.task.exam.of(part)
                got = self.task.student(tensors_of(part.feeds))
                total += float(loss(got, wanted, part.labels)) * len(part)
            count += len(part)
            if part.labels is not None and loss.classes:
                hits += loss.hits(got, part.labels)
        known = labels is not None and bool(loss.classes)
        return total / count, hits / count if known else None

    def _tell(self, over: float) -> None:
        """Say how it goes."""
        if over <= 0 or self.smooth is None:
            return
        left = (self._seconds() - self.before) * (1 - over) / over
        told = "" if self.best is None else f", held out {self.best:.3g}"
        self.progress.remark(f"loss {self.smooth:.3g}{told}, {left:.0f} s left")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Have torch use so many threads; afterwards as many as before."""
    torch = import_torch()
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
