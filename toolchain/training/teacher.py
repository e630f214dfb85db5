"""What a student learns from: the original graph, or a torch module of the user."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..accuracy.metric import Outputs
from ..errors import InputError
from ..frontend.torch_graph import Tensor, import_torch, tensors_of
from ..frontend.user_code import attempt, load_function
from .batches import Part

Teacher = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]  # outputs and features by name

_KEPT = 1 << 28  # bytes of outputs that are remembered


def teacher_module(spec: str, inputs: Sequence[str], outputs: Sequence[str]) -> Teacher:
    """The user's torch module as a teacher.

    Args:
        spec: `package.module:factory` or `file.py:factory`; the factory takes no arguments.
        inputs: Names of the graph's inputs, in the order that the module takes them.
        outputs: Names of the graph's outputs, in the order that it returns them.

    Raises:
        InputError: It cannot be made, or later: it cannot run, or returns something else.
    """
    torch = import_torch()
    with attempt(f"factory {spec}"):
        made = load_function(spec)()
    module = made[0] if isinstance(made, tuple) else made
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"{spec} returned a {type(module).__name__}", "return a torch.nn.Module")
    module.eval()

    def teach(feeds: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        with attempt(f"running {spec}"):
            got = module(*(feeds[name] for name in inputs))
        rows = list(got) if isinstance(got, (tuple, list)) else [got]
        if len(rows) != len(outputs):
            raise InputError(f"{spec} returns {len(rows)} tensors, the model has {len(outputs)}")
        return dict(zip(outputs, rows, strict=True))

    return teach


@dataclass(slots=True, eq=False)
class Lessons:
    """What the teacher says of batches; what it said is remembered where samples come again.

    Attributes:
        teacher: The teacher.
        names: The outputs and features that are wanted.
        remember: Whether the same index is always the same sample (it is not when augmented).
    """

    teacher: Teacher
    names: Sequence[str]
    remember: bool
    _known: dict[int, Mapping[str, Tensor]] = field(default_factory=dict)
    _bytes: int = 0

    def of(self, part: Part) -> dict[str, Tensor]:
        """What the teacher gives for a part of a batch."""
        torch = import_torch()
        indices = [int(index) for index in part.indices]
        if self.remember and all(index in self._known for index in indices):
            rows = [self._known[index] for index in indices]
            return {n: torch.cat([row[n] for row in rows]) for n in self.names}
        with torch.no_grad():
            said = self.teacher(tensors_of(part.feeds))
        wanted = {name: said[name] for name in self.names}
        if self.remember and self._bytes < _KEPT:
            self._keep(indices, wanted)
        return wanted

    def _keep(self, indices: Sequence[int], said: Mapping[str, Tensor]) -> None:
        for place, index in enumerate(indices):
            if len(indices) == 1:
                row = dict(said)
            else:
                row = {name: tensor[place : place + 1].clone() for name, tensor in said.items()}
            self._known[index] = row
            self._bytes += sum(t.numel() * t.element_size() for t in row.values())


def example_rows(teacher: Teacher, parts: Sequence[Part], names: Sequence[str]) -> list[Outputs]:
    """What a teacher gives for some samples, one by one, as arrays: for recognising outputs."""
    torch = import_torch()
    rows: list[Outputs] = []
    for part in parts:
        with torch.no_grad():
            said = teacher(tensors_of(part.feeds))
        for index in range(len(part)):
            one = {n: said[n] if len(part) == 1 else said[n][index : index + 1] for n in names}
            rows.append({name: tensor.float().numpy() for name, tensor in one.items()})
    return rows
