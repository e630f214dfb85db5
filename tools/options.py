"""Arguments and options that several commands share, and how their values are read."""

import math
from pathlib import Path
from typing import Any

import click

from ..toolchain.errors import UsageError
from ..toolchain.plan import Precision

_METHODS = ("minmax", "percentile", "mse", "entropy")


def _finite(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """Refuse `nan` and `inf`, which are numbers to click."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.", context, option)
    return value


positive: dict[str, Any] = {
    "type": click.FloatRange(min=0, min_open=True),
    "callback": _finite,
}
device = click.option(
    "--device", default="host", show_default=True, help="A device, or a profile's .yaml."
)
power_mode = click.option("--power-mode", default="", help="One of the device's power modes.")
data = click.option("--data", default="", help="Samples: npz, folder, or module:function.")
base = click.option(
    "--base",
    type=click.Path(path_type=Path),
    help="A bundle of the same graph: take its plan, scales and codebooks, for a small update.",
)
preprocess = click.option(
    "--preprocess", help='For pictures: "resize=256 crop=224 mean=… std=… layout=nchw".'
)
samples = click.option("--samples", type=click.IntRange(min=1), help="Use so many of them.")
evaluation = click.option("--eval", "evaluation", default="", help="Labelled samples to judge by.")
metric = click.option(
    "--metric",
    default="auto",
    show_default=True,
    help="auto, top1, top5, cross-entropy, module:function.",
)
max_latency = click.option("--max-latency", **positive, help="In ms.")
max_size = click.option("--max-size", **positive, help="In MB.")
max_energy = click.option("--max-energy", **positive, help="In mJ, as estimated.")
precisions = click.option(
    "--precision", "precisions", help=f"Choose among these, e.g. {','.join(Precision)}."
)
calibration = click.option(
    "--calibration",
    type=click.Choice(_METHODS),
    default="mse",
    show_default=True,
    help="How the range of a tensor is chosen.",
)
all_threads = click.option(
    "--threads", type=click.IntRange(min=0), default=0, help="0: one a core."
)
seed = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
bundle = click.argument("bundle", type=click.Path(path_type=Path))
json_output = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")
force = click.option("--force", is_flag=True, help="Replace the output if it exists.")
threads = click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Threads of one inference; 0: one for each core.",
)
original = click.option(
    "--original",
    type=click.Path(path_type=Path),
    help="The model that was compiled, where it is not at its old path.",
)
inputs = click.option(
    "--input", "inputs", multiple=True, help="Fix a shape: 1x3x224x224 or name=1x3x224."
)
table = click.option(
    "--table", type=click.Path(path_type=Path), help="Latency table. [user's cache]"
)
remeasure = click.option(
    "--remeasure", is_flag=True, help="Measure even what the table already holds."
)
STRATEGIES = (
    "rl",
    "exact",
    "evolution",
    "local",
    "random",
    "ddpg",
    "hierarchical",
    "joint",
    "greedy",
    "uniform",
)
ray = click.option(
    "--ray", default="", metavar="auto|ADDRESS", help="Evaluate plans on a Ray cluster."
)
SENSITIVITIES = (
    "measured",
    "auto",
    "noise",
    "propagated",
    "gradient",
    "fisher",
    "snip",
    "hessian",
    "composite",
)
sensitivity = click.option(
    "--sensitivity",
    type=click.Choice(SENSITIVITIES),
    default=None,
    help="How each choice's loss is found. [measured; auto, an estimate, with --effort 0]",
)
policy = click.option(
    "--policy", type=click.Path(path_type=Path), help="Of hwc train-policy. [hwc's own]"
)
methods = click.option(
    "--methods",
    default="precision",
    show_default=True,
    help="What may be done: precision, prune, lowrank, sparsity, storage; commas between them.",
)
storage = click.option(
    "--storage",
    help="Keep weights in these, e.g. int6,lsq4,codebook3 (uniform int2 to int8; lsq: fitted step; "
    "log; float4e2m1, float8e4m3, ...; codebook; /tensor, /channel or /32 share a scale; lsq4~50 "
    "and lsq4~50x4: half of them 0, one by one or in runs of 4); they are decoded when the engine "
    "is built. [float6e2m3,float4e2m1,lsq3 with --methods storage; lsq4~50, too, with sparsity]",
)
recover = click.option(
    "--recover",
    type=click.Choice(("none", "fast", "full")),
    default=None,
    help="Win back what is lost: fast without training, full with --train-data. [fast with prune]",
)
importance = click.option(
    "--importance",
    type=click.Choice(
        ("l1", "l2", "taylor", "fisher", "snip", "bn_scale", "activation", "movement")
    ),
    default="l2",
    show_default=True,
    help="By what the channels are chosen that go.",
)
initial = click.option(
    "--initial", type=click.Path(path_type=Path), help="The model before training, for movement."
)
train_data = click.option("--train-data", default="", help="Samples to train on, as for --data.")
train_minutes = click.option(
    "--train-minutes", default=10.0, show_default=True, **positive, help="At most, in all."
)
augment = click.option("--augment", default="", help='How they are varied: "flip crop=4".')
recipe = click.option(
    "--recipe",
    default="",
    help='Of the training: "lr=0.01 alpha=0.7 temperature=2 unfreeze=head nuclear=1e-4 …".',
)
checkpoint = click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Folder that training goes on from."
)
quiet = click.option("-q", "--quiet", is_flag=True, help="No progress.")


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read `--input`: `1x3x224x224` for the only input, or `name=1x3x224x224`.

    Raises:
        UsageError: It is no shape.
    """
    name, _, shape = text.rpartition("=")
    sizes = shape.split("x")
    if not all(size.isascii() and size.isdigit() and int(size) for size in sizes):
        raise UsageError(
            f"--input {text!r} is not a shape", "write 1x3x224x224 or name=1x3x224x224"
        )
    return name, tuple(map(int, sizes))


def parse_precision(text: str) -> Precision:
    """Read one name of `--precision`.

    Raises:
        UsageError: There is no such precision.
    """
    if text not in tuple(Precision):
        raise UsageError(
            f"--precision: there is no {text!r}",
            f"there are {', '.join(Precision)}; put commas between them",
        )
    return Precision(text)


def parse_precisions(text: str | None) -> tuple[Precision, ...]:
    """Read `--precision`: names with commas between them; fp32 is always among them.

    Raises:
        UsageError: There is no such precision.
    """
    if text is None:
        return ()
    names = map(parse_precision, text.split(","))
    return tuple(dict.fromkeys([Precision.FP32, *names]))


def parse_methods(text: str) -> tuple[str, ...]:
    """Read `--methods`: names with commas between them.

    Raises:
        UsageError: There is no such method.
    """
    known = ("precision", "prune", "lowrank", "sparsity", "storage")
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in known:
            raise UsageError(f"--methods: there is no {name!r}", f"there are {', '.join(known)}")
    return names
