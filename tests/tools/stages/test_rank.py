"""Which channels go, by the criterion that is asked for, through cut after cut."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hwc.passes.prune import prune
from hwc.toolchain.errors import InputError, UsageError
from hwc.toolchain.observe import annotate
from hwc.toolchain.progress import Silent
from hwc.toolchain.structure.find_groups import find_groups
from hwc.toolchain.structure.groups import ChannelGroup
from hwc.toolchain.structure.importance import Importance
from hwc.tools.stages.compilation import Compilation
from hwc.tools.stages.decide import reference
from hwc.tools.stages.rank import Followed, ranking
from onnx import numpy_helper

UNITS = 32


def groups_of(model: ir.Model, feeds: dict[str, np.ndarray]) -> tuple[ChannelGroup, ...]:
    return find_groups(annotate(model, reference, feeds)).groups


def before(files: Path, scale: float = 0.5) -> Path:
    """The model as it may have been before training: the first units have moved away least."""
    proto = onnx.load(files / "mlp.onnx")
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        if tensor.name == "w":
            array *= np.linspace(1.0, scale, UNITS)
        tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float32), tensor.name))
    onnx.save(proto, files / "before.onnx")
    return files / "before.onnx"


def compilation(begun: object) -> Compilation:
    """As much of a compilation as a ranking reads."""
    return begun  # type: ignore[return-value]  # request and prepared, which is all


@pytest.mark.parametrize("how", [how for how in Importance if how is not Importance.MOVEMENT])
def test_every_criterion_ranks_a_prepared_model(begin: Callable[..., object], how: str) -> None:
    begun = compilation(begin(importance=how))
    model = begun.prepared.model
    (group,) = groups_of(model, dict(begun.prepared.feeds))
    (order,) = ranking(begun, Silent())(model, (group,)).values()
    assert sorted(order) == list(range(UNITS))
    assert list(order) != list(range(UNITS))


@pytest.mark.parametrize("asked", [{"importance": "movement"}, {"initial": Path("before.onnx")}])
def test_movement_and_the_model_before_go_together(
    begin: Callable[..., object], asked: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match="before training") as bad:
        ranking(compilation(begin(**asked)), Silent())
    assert "--initial MODEL" in bad.value.hint


def test_units_that_moved_are_followed_through_cuts(
    begin: Callable[..., object], files: Path
) -> None:
    begun = compilation(begin(importance="movement", initial=before(files, 0.0)))
    model, feeds = begun.prepared.model, dict(begun.prepared.feeds)
    rank = ranking(begun, Silent())
    groups = groups_of(model, feeds)
    (first,) = rank(model, groups).values()
    assert (rank(model, groups)[groups[0].name] == first).all()  # a cut that was undone
    kept = np.sort(first[:8])
    smaller = prune(model, groups, {groups[0].name: kept})
    again = rank(smaller, groups_of(smaller, feeds))
    assert list(kept[again[groups[0].name]]) == list(first[:8])


def test_a_group_that_is_named_anew_is_ranked_by_size(begin: Callable[..., object]) -> None:
    begun = compilation(begin())
    model, feeds = begun.prepared.model, dict(begun.prepared.feeds)
    groups = groups_of(model, feeds)
    (by_size,) = ranking(begun, Silent())(model, groups).values()
    rank = Followed(ir.Model(ir.Graph([], [], nodes=[]), ir_version=10), {"gone": np.zeros(3)})
    assert list(rank(model, groups)[groups[0].name]) == list(by_size)


def test_another_network_is_no_model_before(
    begin: Callable[..., object], files: Path, parse_graph: Callable[[str], onnx.ModelProto]
) -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[N,64] x) => (float[N,8] y) <float[64,16] w, float[16] b, float[16,8] v>
    { h = Gemm (x, w, b) r = Relu (h) y = MatMul (r, v) }"""
    onnx.save(parse_graph(text), files / "before.onnx")
    begun = compilation(begin(importance="movement", initial=files / "before.onnx"))
    model = begun.prepared.model
    with pytest.raises(InputError, match="--initial: it has no weight"):
        ranking(begun, Silent())(model, groups_of(model, dict(begun.prepared.feeds)))
