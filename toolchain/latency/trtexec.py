"""What a Jetson user has already: the times of an engine's layers as trtexec exports them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..plan import Precision
from ..timing import Spread
from .timing import LONGEST_US
from .trt_inspector import Layer, check_name, parse_json, parse_layers

MAX_LAYERS_BYTES = 1 << 26
MAX_PROFILE_BYTES = 1 << 24
MOST_RUNS = 10**9
_SHOWN = 3  # names that a message quotes
_QUOTED = 60  # characters of each
HINT = (
    "export both from one run: trtexec --exportLayerInfo=layers.json "
    "--exportProfile=profile.json --profilingVerbosity=detailed --separateProfileRun"
)


@dataclass(frozen=True, slots=True)
class LayerTime:
    """One layer with its time in one run of the engine, in microseconds."""

    layer: Layer
    us: Spread


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """The times of one engine.

    Attributes:
        layers: Every layer that was timed, in the order in which they ran.
        runs: How many runs the times rest on.
        total_us: Typical time of a run without the profiler, in microseconds; None where that is
            not known and the layers' sum stands for it.
        precision: What those layers compute in that do not say so.
    """

    layers: tuple[LayerTime, ...]
    runs: int
    total_us: float | None = None
    precision: Precision | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """What trtexec's profile says.

    Attributes:
        rows: Name and typical time in microseconds of each layer, in the order of a run.
        runs: How many runs that rests on.
    """

    rows: tuple[tuple[str, float], ...]
    runs: int


def read_trtexec(layers: Path, profile: Path, precision: Precision | None = None) -> EngineTimes:
    """Read what trtexec wrote with --exportLayerInfo and --exportProfile.

    The profile has a median (before TensorRT 8.5: a mean) and no percentiles, so all three numbers
    of a layer's spread are that one; nor does it have the time of a run without the profiler.

    Args:
        layers: The engine's layers.
        profile: Their times.
        precision: What the engine computes in, where it was built to name its layers only.

    Raises:
        InputError: A file cannot be read or is not what trtexec writes, they are of two engines,
            or the precision is neither given nor in the file.
    """
    described = parse_layers(_read(layers, MAX_LAYERS_BYTES), str(layers))
    timed = parse_profile(_read(profile, MAX_PROFILE_BYTES), str(profile))
    ran = match_layers(described, [name for name, _ in timed.rows], f"{profile} and {layers}")
    said = any(t.precision for layer in described for t in (*layer.inputs, *layer.outputs))
    if not said and precision is None:
        raise InputError(
            f"{layers} does not say what its layers compute in",
            "give --precision, or build the engine with --profilingVerbosity=detailed",
        )
    times = (
        LayerTime(layer, Spread(us, us, us)) for layer, (_, us) in zip(ran, timed.rows, strict=True)
    )
    return EngineTimes(tuple(times), timed.runs, precision=precision)


def parse_profile(text: str, file: str) -> Profile:
    """The rows of trtexec's profile: a list that begins with the number of runs.

    Args:
        text: The JSON.
        file: What errors call it.

    Raises:
        InputError: It is not such JSON, or a time is not one.
    """
    body = parse_json(text, file)
    if not isinstance(body, list) or not all(isinstance(row, dict) for row in body):
        raise InputError(f"{file} is not a list of objects", HINT)
    counts = [row["count"] for row in body if "count" in row and "name" not in row]
    rows = tuple(_row(row, file) for row in body if "name" in row)
    if len(counts) != 1 or len(rows) + 1 != len(body):
        raise InputError(f"{file} is not a count of runs and rows with a name", HINT)
    (runs,) = counts
    if isinstance(runs, bool) or not isinstance(runs, int) or not 1 <= runs <= MOST_RUNS:
        raise InputError(f"{file} counts {runs!r:.40} runs", HINT)
    if not any(us for _, us in rows):
        raise InputError(f"{file} holds no time", HINT)
    return Profile(rows, runs)


def match_layers(layers: Sequence[Layer], names: Sequence[str], where: str) -> list[Layer]:
    """The layer of each timed name.

    Layers may share a name: then the times are theirs in turn, and what is left over is the last
    one's, as for the body of a loop.

    Args:
        layers: All layers of the engine; those that are not named take no time.
        names: What was timed, in the order of a run.
        where: What errors call the pair.

    Raises:
        InputError: A name is no layer's, so the two are of different engines.
    """
    named: dict[str, list[Layer]] = defaultdict(list)
    for layer in layers:
        named[layer.name].append(layer)
    missing = [name for name in names if name not in named]
    if missing:
        quoted = ", ".join(f"'{name:.{_QUOTED}}'" for name in dict.fromkeys(missing[:_SHOWN]))
        more = ", ..." if len(missing) > _SHOWN else ""
        raise InputError(
            f"{where} are of two engines: {len(missing)} of {len(names)} timed layers are not "
            f"among the layers ({quoted}{more})",
            HINT,
        )
    turns: dict[str, int] = defaultdict(int)
    found = []
    for name in names:
        found.append(named[name][min(turns[name], len(named[name]) - 1)])
        turns[name] += 1
    return found


def _row(row: dict[str, object], file: str) -> tuple[str, float]:
    name = check_name(row["name"], f"{file}: a row")
    ms = row.get("medianMs", row.get("averageMs"))
    if isinstance(ms, bool) or not isinstance(ms, int | float) or not 0 <= ms <= LONGEST_US / 1e3:
        raise InputError(f"{file}: '{name:.{_QUOTED}}' takes {ms!r:.40} ms", HINT)
    return name, float(ms) * 1e3


def _read(path: Path, limit: int) -> str:
    """The text of a file of bounded size."""
    try:
        if not path.is_file():  # a pipe would block
            reason = "is not a file" if path.exists() else "does not exist"
            raise InputError(f"{path} {reason}", HINT)
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as cause:
        raise InputError(f"{path} cannot be read: {cause.strerror}", HINT) from cause
    if len(data) > limit:
        raise InputError(f"{path} is larger than {limit >> 20} MiB", HINT)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise InputError(f"{path} is not UTF-8 text: {cause.reason}", HINT) from cause
