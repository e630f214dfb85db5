"""Real pairs of versions of a model come out exactly, in as few bytes as they are known to need."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest
from hwc.backends.trt_runtime import AHEAD_OF_TIME, Target, Toolkit
from hwc.toolchain.update.content.describe import describe, write_release
from hwc.toolchain.update.delta.header import Strategy
from hwc.toolchain.update.delta.make import Options
from hwc.toolchain.update.release import Compatibility

if TYPE_CHECKING:
    from hwc.tests.toolchain.update.delta.conftest import Bench

DEV = Path(__file__).resolve().parents[4].parent / "shared" / "bench" / "dev"
PAIRS = {
    # old, new, bytes at most: a delta of the same two files must not grow by accident
    "fine-tuned": ("models/resnet20_cifar10.onnx", "models/resnet20_cifar10_v2.onnx", 801_000),
    "graph alone": ("pairs/oww_embedding_0.4.0.onnx", "pairs/oww_embedding_0.5.1.onnx", 1_700),
    "trained on": ("pairs/silero16k_6.0.0.onnx", "pairs/silero16k_6.2.0.onnx", 821_000),
}


def released(folder: Path, files: bytes | Mapping[str, bytes], seq: int) -> Path:
    """A release of these files, or of this model alone."""
    folder.mkdir()
    for path, data in ({"model.onnx": files} if isinstance(files, bytes) else files).items():
        (folder / path).write_bytes(data)
    release = describe(
        folder,
        product="model",
        version=f"1.{seq}",
        seq=seq,
        sec_epoch=0,
        compatibility=Compatibility(),
        golden=None,
        provenance={},
    )
    write_release(folder, release)
    return folder


def shared(path: str) -> bytes:
    if not (DEV / path).is_file():
        pytest.skip(f"no development models: {DEV / path} is not there")
    return (DEV / path).read_bytes()


@pytest.mark.parametrize("name", PAIRS)
def test_a_real_pair_comes_out_exactly(name: str, bench: "Bench") -> None:
    old, new, most = PAIRS[name]
    base = released(bench.root / "old", shared(old), 1)
    target = released(bench.root / "new", shared(new), 2)
    full = bench.update(base, target, Options(Strategy.FULL)).size
    delta = bench.round_trip(base, target, Strategy.HASH).size
    assert delta <= most
    assert bench.round_trip(base, target, Strategy.AUTO).size <= min(full, delta) + 1024


def test_new_names_for_all_weights_cost_little_more_than_the_names(bench: "Bench") -> None:
    model = onnx.load_from_string(shared("models/efficientnet_lite0.onnx"))
    base = released(bench.root / "old", model.SerializeToString(), 1)
    names = {one.name: f"renamed_{k}_{one.name}" for k, one in enumerate(model.graph.initializer)}
    for one in model.graph.initializer:
        one.name = names[one.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    target = released(bench.root / "new", model.SerializeToString(), 2)
    assert bench.round_trip(base, target).size <= 3_600


def test_an_engine_costs_little_beyond_the_model_that_it_was_built_from(bench: "Bench") -> None:
    toolkit = Toolkit.find(AHEAD_OF_TIME)
    if toolkit is None:
        pytest.skip(f"{AHEAD_OF_TIME} is not installed")
    folders = []
    for seq, path in enumerate(PAIRS["fine-tuned"][:2], 1):
        model = onnx.load_from_string(shared(path))
        folders.append(released(bench.root / f"{seq}", shared(path), seq))
        for value in model.graph.input:
            value.type.tensor_type.shape.dim[0].dim_value = 1
        onnx.save(model, bench.root / "fixed.onnx")
        engine = toolkit.build(bench.root / "fixed.onnx", Target(80, 1 << 30))
        files = {"model.onnx": shared(path), "model.plan": bytes(engine)}
        folders.append(released(bench.root / f"{seq} with its engine", files, seq))
    alone, with_engines = (bench.round_trip(folders[k], folders[2 + k]).size for k in (0, 1))
    assert with_engines - alone <= 1024  # its weights are those of the model, channels last
