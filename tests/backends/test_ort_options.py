"""Session options go into a bundle and come back; what is not known is refused."""

from collections.abc import Mapping

import pytest
from hwc.backends.ort_options import RUNTIME, options_text, read_options, with_threads
from hwc.backends.ort_session import DEFAULT, LEFT_OUT, Layout, Options
from hwc.toolchain.errors import BackendError
from hypothesis import given
from hypothesis import strategies as st

OPTIONS = st.builds(
    Options,
    threads=st.just(0),
    disabled=st.lists(st.sampled_from([*LEFT_OUT, "GeluFusion"]), unique=True).map(
        lambda names: tuple(sorted(names))
    ),
    layout=st.sampled_from(Layout),
    arena=st.booleans(),
    prepack=st.booleans(),
    spinning=st.booleans(),
)


@given(OPTIONS)
def test_round_trip(options: Options) -> None:
    text = options_text(options)
    assert read_options(text) == options
    assert list(text) == sorted(text)


def test_the_runtimes_own_defaults_are_empty() -> None:
    assert options_text(RUNTIME) == {}
    assert options_text(DEFAULT) == {"without": ",".join(LEFT_OUT)}


def test_what_an_older_bundle_does_not_say() -> None:
    assert read_options(None) == DEFAULT


@pytest.mark.parametrize(
    ("kept", "asked", "threads"), [({}, 0, 0), ({"threads": "1"}, 0, 1), ({"threads": "1"}, 3, 3)]
)
def test_the_callers_threads_go_first(kept: Mapping[str, str], asked: int, threads: int) -> None:
    assert read_options(kept, asked).threads == threads
    assert with_threads(read_options(kept), asked).threads == threads


def test_never_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert read_options({"threads": "9" * 100}).threads == 2


BAD = {
    "another name": {"speed": "off"},
    "another value": {"arena": "on"},
    "another layout": {"layout": "diagonal"},
    "threads that are none": {"threads": "-1"},
    "an empty list": {"without": ""},
}


@pytest.mark.parametrize("text", BAD.values(), ids=list(BAD))
def test_what_is_not_known_is_refused(text: Mapping[str, str]) -> None:
    with pytest.raises(BackendError, match="is not known") as refusal:
        read_options(text)
    assert next(iter(text)) in refusal.value.message
    assert refusal.value.hint
