"""The development models: lists them, and writes their calibration data for use by hand.

Run `python tests/bench/models.py` for the list; with `--write FOLDER` the data is written there as
`--data` takes it, and the command that compiles each model is printed. The scripts beside this one
do the same by themselves. What is written is calibration data alone: the evaluation data is for
the final figure, and no compilation ever sees it.
"""

import argparse
from pathlib import Path

from support.calibration import arguments
from support.devkit import Case, SkipError, cases
from support.tables import markdown, say


def main() -> None:
    """List the models, or write their data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="only these")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write calibration data")
    asked = parser.parse_args()
    try:
        chosen = cases(asked.models)
    except SkipError as reason:
        say(f"skipped: {reason}")
        return
    if asked.write is None:
        say(markdown(("model", "task", "metric", "file"), [_row(case) for case in chosen]))
        return
    say("export PYTHONPATH=tests/bench")
    for case in chosen:
        words = " ".join(arguments(case, asked.write))
        say(f"hwc compile {case.path} {words} -o {case.name}.hwc")


def _row(case: Case) -> tuple[str, ...]:
    return case.name, case.task, case.metric, str(case.path)


if __name__ == "__main__":
    main()
