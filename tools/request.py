"""What a user asks of a compilation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ..toolchain.calibration import Method as Calibration
from ..toolchain.errors import UsageError
from ..toolchain.plan import Precision
from ..toolchain.search.problem import Objective
from ..toolchain.storage.formats import Format
from ..toolchain.structure.importance import Importance
from ..toolchain.training.augment import Augmentation
from ..toolchain.training.recipe import Recipe

STORAGE = tuple(map(Format.parse, ("float6e2m3", "float4e2m1", "lsq3")))  # least errors
ZEROS = (Format.parse("lsq4~50"),)  # as small as lsq3, and loses less

_SEARCHED = {  # the fields that say how a plan is found, by their option
    "methods": "--methods",
    "storage": "--storage",
    "precisions": "--precision",
    "recovery": "--recover",
    "strategy": "--strategy",
    "effort": "--effort",
    "objective": "--objective",
    "weights": "--objective",
    "max_energy_mj": "--max-energy",
    "sensitivity": "--sensitivity",
    "policy": "--policy",
    "ray": "--ray",
    "calibration": "--calibration",
    "remeasure": "--remeasure",
}


class Method(StrEnum):
    """What may be done to make a model smaller and faster."""

    PRECISION = "precision"
    PRUNE = "prune"
    LOWRANK = "lowrank"
    SPARSITY = "sparsity"
    STORAGE = "storage"


class Recover(StrEnum):
    """How what a smaller model lost is won back."""

    NONE = "none"
    FAST = "fast"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Request:
    """One compilation, as asked for.

    Attributes:
        model: An ONNX file, a `.pt2` program, or `package.module:factory` of a torch module.
        output: Where the bundle goes; None: the model's name with `.hwc`, in this folder.
        device: A device name, a short name, or the path of a profile.
        power_mode: A power mode of the device; empty: its default.
        data: Samples (`load_samples`); empty: none.
        preprocess: How pictures become inputs.
        evaluation: Labelled samples for search and report; empty: taken from `data`.
        metric: `auto`, `top1`, `top5` or `module:function`.
        samples: How many samples of `data` to use; None: all.
        max_drop: Largest loss of the metric, as a fraction.
        max_latency_ms: Latency that must be reached, in milliseconds; None: as low as it gets.
        max_size: Bytes that the model may have; None: any.
        precisions: What may be chosen; empty: all that the device runs.
        strategy: How plans are searched: a name of `strategies`.
        max_energy_mj: Millijoules that one inference may take; None: any.
        objective: What is minimised within `max_drop` and the other limits.
        weights: The terms of a weighted sum to minimise instead; empty: `objective` alone.
        effort: 0: a plan without any evaluation; 1, 2: up to 160 or 400 true evaluations.
        sensitivity: Where sensitivities come from, as `stages.sense.How` has it; None: measured,
            or estimated where `effort` is 0.
        ray: Where true evaluations are made: `auto` or the address of a Ray cluster; empty: here.
        policy: A file of `hwc train-policy`; None: the policy that comes with hwc.
        calibration: How ranges are chosen from what calibration saw.
        inputs: Fixed input shapes by name; '' is the only input.
        surgery: `file.py:function` that changes the graph with onnx-graphsurgeon first.
        threads: Threads of one inference; 0: one for each core.
        table: The latency table; None: the one of this device and runtime in the user's cache.
        remeasure: Measure again what the table already holds.
        random_calibration: Calibrate on random numbers where there is no data.
        seed: For the division of the data and the mixed probes.
        force: Replace an existing bundle.
        archive: Deliver a zip file.
        methods: What may be done to make the model smaller and faster.
        recover: How what that loses is won back; None: `fast` where the structure may change.
        importance: By what the channels are chosen that go, as `Importance` has it.
        initial: The model file before training, for an importance by movement.
        train_data: Samples to train on, as for `data`; needed for `Recover.FULL`.
        train_minutes: How long to train at most, in all.
        augment: How training samples are varied, such as `flip crop=4`.
        recipe: What is different about the training, such as `lr=0.01 unfreeze=head`.
        checkpoint: Folder that training can go on from; None: it starts anew.
        storage: Formats that weights may be kept in; empty: `STORAGE`, where the methods say so,
            and with `Method.SPARSITY` also `ZEROS`.
        base: A bundle of the same graph with other weights, whose plan, scales and codebooks are
            taken; None: they are chosen.

    Raises:
        UsageError: Something is said about data, but no data is given; or about what no method
            uses.
    """

    model: str
    output: Path | None = None
    device: str = "host"
    power_mode: str = ""
    data: str = ""
    preprocess: str | None = None
    evaluation: str = ""
    metric: str = "auto"
    samples: int | None = None
    max_drop: float = 0.01
    max_latency_ms: float | None = None
    max_size: int | None = None
    precisions: tuple[Precision, ...] = ()
    strategy: str = "rl"
    max_energy_mj: float | None = None
    objective: Objective = Objective.LATENCY
    weights: Mapping[Objective, float] = field(default_factory=dict)
    effort: int = 1
    sensitivity: str | None = None
    ray: str = ""
    policy: Path | None = None
    calibration: Calibration = Calibration.MSE
    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    surgery: str | None = None
    threads: int = 0
    table: Path | None = None
    remeasure: bool = False
    random_calibration: bool = False
    seed: int = 0
    force: bool = False
    archive: bool = False
    methods: tuple[Method, ...] = (Method.PRECISION,)
    recover: Recover | None = None
    importance: str = "l2"
    initial: Path | None = None
    train_data: str = ""
    train_minutes: float = 10.0
    augment: str = ""
    recipe: str = ""
    checkpoint: Path | None = None
    storage: tuple[Format, ...] = ()
    base: Path | None = None

    def __post_init__(self) -> None:
        self._check_recovery()
        if self.base is not None:
            self._check_base()
        about = {
            "--preprocess": self.preprocess,
            "--samples": self.samples,
            "--eval": self.evaluation,
        }
        given = [option for option, value in about.items() if value]
        if given and not self.data:
            raise UsageError(f"{given[0]} is given, but no data", "give --data, too")

    def _check_recovery(self) -> None:
        """Refuse what cannot be judged, or would be left out without a word."""
        if self.restructures and not self.data:
            asked = next(m for m in self.methods if m in {Method.PRUNE, Method.LOWRANK})
            hint = "give --data: what a cut loses is told by samples alone"
            raise UsageError(f"--methods {asked} needs data", hint)
        if self.recover is Recover.FULL and not self.train_data:
            hint = "give --train-data: samples, with or without labels, that none of --eval is of"
            raise UsageError("--recover full trains, but there is nothing to train on", hint)
        if self.train_data and self.recover is not Recover.FULL:
            raise UsageError("--train-data is given, but nothing is trained", "add --recover full")
        if (self.importance == Importance.MOVEMENT) != (self.initial is not None):
            raise UsageError(
                "--importance movement compares with the weights before training",
                "give --initial MODEL with it, and only with it",
            )
        trained = {
            "--augment": self.augment,
            "--recipe": self.recipe,
            "--checkpoint": self.checkpoint,
        }
        given = [option for option, value in trained.items() if value]
        if given and self.recover is not Recover.FULL:
            raise UsageError(f"{given[0]} is given, but nothing is trained", "add --recover full")
        Augmentation.parse(self.augment)
        Recipe.parse(self.recipe)
        if self.recover not in {None, Recover.NONE} and not self.data:
            raise UsageError(f"--recover {self.recover} needs data", "give --data, too")

    def _check_base(self) -> None:
        """Refuse what says how a plan is found: it is found already."""
        plain = Request(self.model)
        for name, option in _SEARCHED.items():
            if getattr(self, name) != getattr(plain, name):
                hint = f"leave {option} out, or compile without --base"
                raise UsageError(f"{option} is given, but --base takes a plan as it is", hint)
        if not (self.data or self.random_calibration):
            hint = "give --data, or --allow-random-calibration"
            raise UsageError("--base needs data to judge what its scales make of new weights", hint)

    @property
    def restructures(self) -> bool:
        """Whether the shape of the graph may change."""
        return bool({Method.PRUNE, Method.LOWRANK} & set(self.methods))

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats that weights may be kept in; empty: as kernels read them."""
        if self.storage or Method.STORAGE not in self.methods:
            return self.storage
        return (*STORAGE, *(ZEROS if Method.SPARSITY in self.methods else ()))

    @property
    def recovery(self) -> Recover:
        """How what is lost is won back."""
        return self.recover or (Recover.FAST if self.restructures and self.data else Recover.NONE)

    @property
    def target(self) -> Path:
        """The path of the bundle."""
        if self.output is not None:
            return self.output
        stem = Path(self.model).stem if Path(self.model).suffix else self.model.split(":")[-1]
        return Path(f"{stem}.hwc.zip" if self.archive else f"{stem}.hwc")
