"""Tasks on a cluster of several nodes: each is answered once, whatever happens to the workers."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hwc.toolchain.cluster import Cluster
from hwc.toolchain.crew import Crew
from hwc.toolchain.errors import BackendError, InputError, UsageError

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install 'hwc-compiler[ray]')")
from ray import cloudpickle  # noqa: E402 - where there is one
from ray.cluster_utils import Cluster as Nodes  # noqa: E402

# sockets and files of Ray's processes are left to the end of this one
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")

STORE = 80 * 2**20  # bytes of a node's object store
Do = Callable[[str, int], object]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """Two nodes of a CPU each."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    found = Nodes(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": STORE}
    )
    found.add_node(num_cpus=1, object_store_memory=STORE)
    yield found
    found.shutdown()
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def cluster(nodes: Nodes) -> Iterator[Cluster]:
    with Cluster(nodes.address) as found:
        yield found


@contextmanager
def crew_of(
    cluster: Cluster, do: Do, notes: list[str] | None = None
) -> Iterator[Crew[str, int, object]]:
    told = notes.append if notes is not None else lambda _: None
    crew: Crew[str, int, object] = Crew(cluster, lambda: do, told=told)
    yield crew
    crew.close()


def times(matter: str, task: int) -> object:
    return matter, task * task


def where(_: str, __: int) -> object:
    time.sleep(0.3)
    return ray.get_runtime_context().get_node_id()


def die_once(folder: str, task: int) -> object:
    """Ends its process, the first time that it gets the second or the fourth task."""
    if task in {1, 3} and not (mark := Path(folder, str(task))).exists():
        mark.touch()
        os._exit(1)
    return task


def die(_: str, task: int) -> object:
    if task == 1:
        os._exit(1)
    return task


def refuse(matter: str, task: int) -> object:
    if task == 1:
        raise InputError(f"{matter} {task} is bad", "give another")
    return task


def unable() -> Do:
    raise RuntimeError("no kernels here")


def test_every_task_is_done_once(cluster: Cluster) -> None:
    with crew_of(cluster, times) as crew:
        first = dict(crew.each(cluster.share("a"), range(20)))
        assert first == {i: ("a", i * i) for i in range(20)}
        assert list(crew.each(cluster.share("b"), [7])) == [(0, ("b", 49))]
        assert list(crew.each(cluster.share("b"), [])) == []


def test_all_nodes_work(cluster: Cluster) -> None:
    assert cluster.cpus == 2
    with crew_of(cluster, where) as crew:
        list(crew.each(cluster.share(""), [0]))  # one may start seconds before the other
        places = dict(crew.each(cluster.share(""), range(20)))
    assert len(set(places.values())) == 2


def test_a_lost_worker_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    notes: list[str] = []
    with crew_of(cluster, die_once, notes) as crew:
        got = list(crew.each(cluster.share(str(tmp_path)), range(6)))
    assert sorted(got) == [(i, i) for i in range(6)]
    assert len(notes) == 2
    assert "another one takes its plan" in notes[0]


def test_a_task_that_kills_its_workers(cluster: Cluster) -> None:
    with crew_of(cluster, die) as crew:
        with pytest.raises(BackendError, match="3 workers of the Ray cluster were lost over one"):
            list(crew.each(cluster.share(""), [0, 1]))
        assert list(crew.each(cluster.share(""), [5])) == [(0, 5)]


def test_what_a_task_raises(cluster: Cluster) -> None:
    """The error arrives as it was, and the crew can go on."""
    with crew_of(cluster, refuse) as crew:
        with pytest.raises(InputError, match="sample 1 is bad") as caught:
            list(crew.each(cluster.share("sample"), [1]))
        assert caught.value.hint == "give another"
        assert sorted(crew.each(cluster.share("sample"), [0, 2, 3])) == [(0, 0), (1, 2), (2, 3)]


def test_results_that_nobody_wants_any_more(cluster: Cluster) -> None:
    """Interrupted, it can be asked again; nothing of before is mistaken for an answer."""
    with crew_of(cluster, times) as crew:
        replies = crew.each(cluster.share("a"), range(10))
        next(replies)
        replies.close()  # type: ignore[attr-defined]  # it is a generator
        assert dict(crew.each(cluster.share("b"), [4, 5])) == {0: ("b", 16), 1: ("b", 25)}


def test_workers_that_cannot_start(cluster: Cluster) -> None:
    crew: Crew[str, int, object] = Crew(cluster, unable)
    with pytest.raises(BackendError, match=r"no worker of the Ray cluster starts.*no kernels here"):
        list(crew.each(cluster.share(""), [1]))


def test_what_cannot_travel(cluster: Cluster) -> None:
    with pytest.raises(UsageError, match=r"cannot be sent to the cluster.*leave --ray out"):
        cluster.share(threading.Lock())


@pytest.mark.parametrize(
    ("address", "seconds", "why"),
    [
        pytest.param("127.0.0.1:9", 2, "answers at '127.0.0.1:9' within 2 s", id="nobody there"),
        pytest.param("nonsense", 60, "'nonsense': Invalid address", id="no address"),
        pytest.param("host:port", 60, "'host:port': Unable to parse port", id="no port"),
    ],
)
def test_no_cluster_there(address: str, seconds: int, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        Cluster(address, seconds=seconds)
    assert "ray start --head" in caught.value.hint
    assert "\n" not in str(caught.value)


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'hwc-compiler\[ray\]'"):
        Cluster()


def test_found_by_itself(nodes: Nodes, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last test here: a process has one connection."""
    cluster.close()
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    with Cluster("auto") as found:
        assert found.cpus == 2
