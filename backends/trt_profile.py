"""Timing graphs layer by layer in TensorRT, in place and in turns."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..toolchain.device import DeviceProfile
from ..toolchain.engine import Feeds
from ..toolchain.errors import BackendError
from ..toolchain.latency.measure import typical, without_profiler
from ..toolchain.latency.trt_inspector import Layer, parse_layers
from ..toolchain.latency.trtexec import EngineTimes, LayerTime, match_layers
from ..toolchain.output import scratch_folder
from ..toolchain.timing import Spread
from . import cuda_memory
from .cuda_memory import Cuda
from .trt import target_of
from .trt_runtime import AHEAD_OF_TIME, NATIVE, EngineRunner, Target, Toolkit

HINT = "time the engine with trtexec, and give hwc profile --from-trtexec what it exports"
NEEDED = ("EngineInspector", "IProfiler", "LayerInformationFormat", "ProfilingVerbosity")
_WARM_UP = 5  # runs that load kernels and raise clocks before any counts
_TURN_US, _MOST_REPEATS = 2000.0, 20  # how long one engine runs before it is another's turn

Times = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LayerTimer:
    """Builds graphs for the GPU at hand and times their layers.

    Attributes:
        toolkit: The TensorRT module.
        cuda: The GPU.
        target: What to build for.
    """

    toolkit: Toolkit
    cuda: Cuda
    target: Target

    @classmethod
    def find(cls, profile: DeviceProfile) -> Self:
        """The timer of a device: TensorRT where it is installed, else TensorRT-RTX.

        Raises:
            BackendError: There is no such GPU here, no TensorRT, or one that cannot time layers.
        """
        cuda = cuda_memory.first_device()
        if cuda is None:
            raise BackendError("no GPU to time layers on", f"{cuda_memory.INSTALL}; or {HINT}")
        if f"sm{cuda.capability}" != profile.target:
            raise BackendError(
                f"{profile.name} is {profile.target}, the GPU here is sm{cuda.capability}", HINT
            )
        toolkit = Toolkit.find(NATIVE) or Toolkit.find(AHEAD_OF_TIME)
        if toolkit is None:
            raise BackendError("no TensorRT is installed", "pip install hwc-compiler[tensorrt]")
        missing = [name for name in NEEDED if not hasattr(toolkit.api, name)]
        if missing:
            lacks = ", ".join(missing)
            raise BackendError(f"{toolkit.version} cannot time layers: it has no {lacks}", HINT)
        sm = None if toolkit.name == NATIVE else cuda.capability
        return cls(toolkit, cuda, replace(target_of(sm, profile), detailed=True))

    def time(
        self,
        models: Sequence[ir.Model],
        feeds: Feeds,
        *,
        runs: int,
        told: Callable[[], None] = lambda: None,
    ) -> list[EngineTimes]:
        """Build graphs and time them.

        Each engine runs in turns with the others, because what slows the GPU for a while must fall
        on all of them alike: first without the profiler, which says what the whole really takes
        (wall time of one enqueue and the wait for it, the inputs on the device already), then with
        it. What the profiler adds is taken off.

        Args:
            models: The graphs, in TensorRT's dialect.
            feeds: Their inputs.
            runs: Turns of each engine, with and without the profiler.
            told: Called after each turn, `2 * runs` times.

        Raises:
            BackendError: TensorRT refused a graph, or reports no times.
        """
        subjects = [_Subject.open(self, model, feeds) for model in models]
        for _ in range(runs):
            for subject in subjects:
                subject.turn()
            told()
        for subject in subjects:
            subject.attach_profiler()
        for _ in range(runs):
            for subject in subjects:
                subject.profile()
            told()
        return [subject.times() for subject in subjects]


class _Subject:
    """One engine on the GPU, its inputs in place."""

    def __init__(self, toolkit: Toolkit, runner: EngineRunner) -> None:
        self._toolkit, self._runner = toolkit, runner
        self._profiler: Any = None
        fastest = min(self._wall_us(1) for _ in range(_WARM_UP))
        self._repeat = min(_MOST_REPEATS, math.ceil(_TURN_US / max(fastest, 1.0)))
        self._totals: list[float] = []  # wall time of one run in each turn, in microseconds
        self._names: list[str] = []  # the layers, in the order in which a run reports them
        self._us: list[list[float]] = []  # their times in each run

    @classmethod
    def open(cls, timer: LayerTimer, model: ir.Model, feeds: Feeds) -> Self:
        """Build and load a graph."""
        with scratch_folder("hwc-profile-") as folder:
            path = folder / "model.onnx"
            ir.save(model, path, external_data="weights.bin")  # a protobuf holds 2 GiB at most
            engine = bytes(timer.toolkit.build(path, timer.target))
        runner = timer.toolkit.load(engine, timer.cuda)
        runner.put(feeds)
        return cls(timer.toolkit, runner)

    def turn(self) -> None:
        """Some runs without the profiler."""
        self._totals.append(self._wall_us(self._repeat))

    def attach_profiler(self) -> None:
        """From now on each run reports its layers, when it has ended."""
        self._profiler = _profiler(self._toolkit.api)
        self._runner.context.profiler = self._profiler

    def profile(self) -> None:
        """One run under the profiler."""
        self._profiler.rows.clear()
        self._runner.run()
        names = [name for name, _ in self._profiler.rows]
        if not names:
            raise BackendError(f"{self._toolkit.version} reports no time of any layer", HINT)
        if self._names and names != self._names:
            raise BackendError(f"{self._toolkit.version} runs other layers each time", HINT)
        self._names = names
        self._us.append([us for _, us in self._profiler.rows])

    def times(self) -> EngineTimes:
        """Each layer's time without what the profiler adds."""
        total = typical(np.array(self._totals))
        columns = np.array(self._us).T
        middle = [typical(us) for us in columns]
        added = without_profiler(middle, total)
        ran = match_layers(self._layers(), self._names, "the profiler and the inspector")
        layers = (
            LayerTime(layer, _spread(us, column, added))
            for layer, us, column in zip(ran, middle, columns, strict=True)
        )
        return EngineTimes(tuple(layers), len(self._us), total)

    def _layers(self) -> tuple[Layer, ...]:
        """What the engine says of its layers."""
        context, api = self._runner.context, self._toolkit.api
        inspector = context.engine.create_engine_inspector()
        inspector.execution_context = context
        text = inspector.get_engine_information(api.LayerInformationFormat.JSON)
        return parse_layers(text, f"{self._toolkit.version}: the inspector's JSON")

    def _wall_us(self, repeat: int) -> float:
        """Wall time of one run, in microseconds: the mean over `repeat` of them."""
        start = time.perf_counter_ns()
        for _ in range(repeat):
            self._runner.run()
        return (time.perf_counter_ns() - start) / 1e3 / repeat


def _spread(middle: float, us: Times, added: float) -> Spread:
    low, high = np.percentile(us, (10, 90))
    return Spread(
        max(0.0, middle - added),
        max(0.0, min(float(low), middle) - added),
        max(0.0, max(float(high), middle) - added),
    )


def _profiler(api: ModuleType) -> Any:  # noqa: ANN401 - a class that is made here
    """A TensorRT profiler that keeps what one run reports."""

    class Profiler(api.IProfiler):  # type: ignore[misc,name-defined]  # the module varies
        """Name and microseconds of each layer."""

        def __init__(self) -> None:
            super().__init__()
            self.rows: list[tuple[str, float]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            """Called by the library, once for each layer of a run."""
            self.rows.append((layer_name, ms * 1e3))

    return Profiler()
