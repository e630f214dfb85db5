"""Session options as a bundle keeps them: what differs from the runtime's own defaults, as text."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

from ..toolchain.errors import BackendError
from .ort_session import DEFAULT, Layout, Options

RUNTIME = Options(disabled=())  # as ONNX Runtime opens a graph that nobody compiled
_CHANGES: Mapping[tuple[str, str], Callable[[Options], Options]] = {
    ("arena", "off"): lambda options: replace(options, arena=False),
    ("layout", "plain"): lambda options: replace(options, layout=Layout.PLAIN),
    ("prepack", "off"): lambda options: replace(options, prepack=False),
    ("spinning", "off"): lambda options: replace(options, spinning=False),
}


def options_text(options: Options) -> dict[str, str]:
    """What a bundle keeps of the options; `read_options` reads it."""
    text = {name: value for (name, value), change in _CHANGES.items() if change(options) == options}
    if options.disabled:
        text["without"] = ",".join(sorted(options.disabled))
    if options.threads:
        text["threads"] = str(options.threads)
    return dict(sorted(text.items()))


def read_options(text: Mapping[str, str] | None, threads: int = 0) -> Options:
    """The options that a bundle keeps.

    Args:
        text: As `options_text` wrote it; None: the options that hwc opens graphs with.
        threads: Threads of one inference; 0: as kept, else one for each core.

    Raises:
        BackendError: There is no such option, or it has no such value.
    """
    options = DEFAULT if text is None else RUNTIME
    for name, value in (text or {}).items():
        options = _with(options, name, value)
    return with_threads(options, threads)


def with_threads(options: Options, threads: int) -> Options:
    """The options on that many threads; 0: on as many as they say."""
    return replace(options, threads=threads or options.threads)


def _with(options: Options, name: str, value: str) -> Options:
    if (name, value) in _CHANGES:
        return _CHANGES[name, value](options)
    if name == "without" and value:
        return replace(options, disabled=tuple(value.split(",")))
    if name == "threads" and value.isdecimal():
        # Found best where the bundle was made; never more than there are here.
        return replace(options, threads=min(int(value[:9]), os.cpu_count() or 1))
    raise BackendError(
        f"the session option {name} = {value!r:.40} is not known", "update hwc, or compile again"
    )
