"""Small helpers that keep an error to one line and suggest the name that was meant."""

import difflib
from collections.abc import Iterable

MAX_CAUSE = 240  # characters of a foreign message that are quoted


def one_line(text: object) -> str:
    """The text of a foreign error as one line of at most `MAX_CAUSE` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= MAX_CAUSE else line[: MAX_CAUSE - 1] + "…"


def nearest(name: str, choices: Iterable[str]) -> str:
    """A hint with the choice that was probably meant, or with all of them when few."""
    known = sorted(choices)
    if close := difflib.get_close_matches(name, known, n=1):
        return f"did you mean {close[0]}?"
    return f"there is {', '.join(known)}" if 0 < len(known) <= 8 else ""  # noqa: PLR2004 - a line
