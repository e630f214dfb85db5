"""Strategies of search at equal budgets of true evaluations, on data that no search saw.

Run `python tests/bench/search.py`, or `make bench-search`. A cell is a model, a device and a limit:
30 % or 60 % of the way from the fastest plan to the safest in time (the host's table is measured,
the others are estimated), or 4 bits a weight in the mean for ResNet-20 with weights in 2, 3, 4, 6
or 8 bits. The least KL divergence from the original is sought. All strategies know the same
sensitivities (a sweep on 16 samples), and search on the same 64 to 256. Their best plan by these is
judged on up to 1024 samples that nothing else saw; `rl` has, as in the product, a guard with the
last word, on as many others.

Each result is added to `--out` when it is there: what is there already is not run again, and losses
are kept in `--cache`, so that this may be stopped at any time. `--report` only draws up the tables
and the plot from what is there. CPU time is of one thread: set OMP_NUM_THREADS=1.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import platformdirs
from hwc.toolchain.accuracy.store import LossStore
from hwc.toolchain.search.problem import Problem
from hwc.toolchain.search.rl.generator import within_share
from hwc.toolchain.search.rl.policy_file import read_policy
from support.devkit import SkipError, cases
from support.search_bits import at_average, bits_ground
from support.search_entrants import ENTRANTS
from support.search_ground import Ground, ground
from support.search_plot import plot
from support.search_results import Key, Results
from support.search_run import Contest, setting
from support.search_table import tables
from support.tables import say

MODELS = ("resnet20_cifar10", "dscnn_kws", "tinyvit_cifar10", "resnet56_cifar10")
DEVICES = ("host", "a100", "jetson_orin")
BITS = "bits"  # in the place of a device
SHARES = (30, 60)  # hundredths of the way
BUDGET, SEEDS = 160, 5

GROUNDS = (("resnet20_cifar10", BITS), *((m, d) for d in DEVICES for m in MODELS))


def cells(model: str, device: str) -> tuple[str, ...]:
    """The names of a ground's cells."""
    ends = ("4 bits",) if device == BITS else tuple(f"{share} %" for share in SHARES)
    return tuple(f"{model}, {device}, {end}" for end in ends)


def problems(model: str, device: str, on: Ground) -> Iterator[tuple[str, Problem]]:
    """The cells of a ground with their problems."""
    names = cells(model, device)
    if device == BITS:
        yield names[0], at_average(on)
        return
    for name, share in zip(names, SHARES, strict=True):
        yield name, within_share(on.problem, share / 100)


def wanted(asked: argparse.Namespace, names: Sequence[str], done: Results) -> list[Key]:
    """The searches of some cells that are asked for and not there yet."""
    chosen = [name for name in names if not asked.only or any(o in name for o in asked.only)]
    keys = [
        (cell, strategy, seed, asked.budget)
        for cell in chosen
        for seed in range(asked.seeds)
        for strategy in asked.strategies
        if seed == 0 or ENTRANTS[strategy].chance
    ]
    return [key for key in keys if key not in done or key[1] in asked.again]


def run(asked: argparse.Namespace, results: Results, store: LossStore) -> None:
    """Run what is missing."""
    policy = read_policy(asked.policy).policy if asked.policy else None
    for model, device in GROUNDS:
        keys = wanted(asked, cells(model, device), results)
        if not keys:
            continue
        (case,) = cases([model])
        make = bits_ground if device == BITS else partial(ground, device=device)
        on = make(case, cache=asked.cache, store=store)
        at = dict(problems(model, device, on))
        for cell, problem in at.items():
            results.check(cell, setting(problem))
        for cell, strategy, seed, budget in keys:
            result = Contest(cell, on, at[cell], budget).run(strategy, seed, policy)
            results.add(result)
            say(results.line(result))


def main() -> None:
    """Search, and draw up what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    home = platformdirs.user_cache_path("hwc") / "bench-search"
    parser.add_argument("--cache", type=Path, default=home, help="[%(default)s]")
    parser.add_argument("--out", type=Path, help="JSON lines [search.jsonl in the cache]")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="cells with one of these in it")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="[%(default)s]")
    parser.add_argument("--budget", type=int, default=BUDGET, help="[%(default)s]")
    parser.add_argument("--strategies", nargs="+", choices=ENTRANTS, default=list(ENTRANTS))
    parser.add_argument(
        "--again", nargs="+", choices=ENTRANTS, default=[], help="run these although they are there"
    )
    parser.add_argument("--policy", type=Path, help="another one than that of hwc")
    parser.add_argument("--report", action="store_true", help="run nothing")
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    with LossStore(asked.cache / "losses.sqlite") as store:
        results = Results.read(asked.out or asked.cache / "search.jsonl")
        try:
            if not asked.report:
                run(asked, results, store)
        except SkipError as reason:
            say(f"skipped: {reason}")
        chosen = results.of(asked.only, asked.budget)
        if chosen:
            text = tables(chosen, store)
            results.path.with_suffix(".md").write_text(text, encoding="utf-8")
            plot(chosen, results.path.with_suffix(".png"))
            say(text)


if __name__ == "__main__":
    main()
