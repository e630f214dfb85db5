"""Runs an Ascend offline model through pyACL, which comes with the CANN toolkit.

Pointers are integers and every call returns an error code, 0 for success: CANN's "pyACL API
Reference" (acl.init, acl.rt, acl.mdl).
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..toolchain.engine import Array, Feeds
from ..toolchain.errors import BackendError
from .signature import Signature

_HUGE_FIRST = 0  # ACL_MEM_MALLOC_HUGE_FIRST
_TO_DEVICE, _TO_HOST = 1, 2  # ACL_MEMCPY_HOST_TO_DEVICE, ACL_MEMCPY_DEVICE_TO_HOST
_INITIALISED = 100002  # ACL_ERROR_REPEAT_INITIALIZE: someone in this process called acl.init
_TYPES = {  # aclDataType
    0: "float32",
    1: "float16",
    2: "int8",
    3: "int32",
    4: "uint8",
    6: "int16",
    7: "uint16",
    8: "uint32",
    9: "int64",
    10: "uint64",
    11: "float64",
    12: "bool",
}


@dataclass(frozen=True, slots=True)
class _Buffer:
    """Device memory of one input or output."""

    name: str
    address: int
    size: int


class AclRunner:
    """A loaded `.om` model: arrays in by input name, arrays out by output name."""

    def __init__(self, path: Path, signature: Signature, device: int = 0) -> None:
        """Load a model and reserve its memory.

        Raises:
            BackendError: pyACL is missing, or refused.
        """
        self._acl = acl = _pyacl()
        self._signature = signature
        _check(acl.init(), "acl.init", allowed=_INITIALISED)
        _check(acl.rt.set_device(device), "acl.rt.set_device")
        self._model = _value(acl.mdl.load_from_file(str(path)), "acl.mdl.load_from_file")
        self._description = acl.mdl.create_desc()
        _check(acl.mdl.get_desc(self._description, self._model), "acl.mdl.get_desc")
        self._inputs, self._input_set = self._reserve("input")
        self._outputs, self._output_set = self._reserve("output")

    def __call__(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference.

        Raises:
            BackendError: An input has another size than the model's, or the device failed.
        """
        types = {spec.name: spec.dtype for spec in self._signature.inputs}
        for buffer in self._inputs:
            array = np.ascontiguousarray(feeds[buffer.name], types[buffer.name])
            if array.nbytes != buffer.size:
                message = f"input '{buffer.name}' has {array.nbytes} bytes, not {buffer.size}"
                raise BackendError(message, "the engine takes one fixed shape")
            self._copy(buffer.address, array.ctypes.data, buffer.size, _TO_DEVICE)
        done = self._acl.mdl.execute(self._model, self._input_set, self._output_set)
        _check(done, "acl.mdl.execute")
        return self._signature.name_outputs([self._fetch(i) for i in range(len(self._outputs))])

    def _reserve(self, kind: str) -> tuple[list[_Buffer], int]:
        """Reserve device memory for all inputs or outputs, and a data set that points to it."""
        mdl, described = self._acl.mdl, self._description
        data = mdl.create_dataset()
        buffers: list[_Buffer] = []
        for index in range(self._about(kind, "get_num_{}s")(described)):
            size = self._about(kind, "get_{}_size_by_index")(described, index)
            name = self._about(kind, "get_{}_name_by_index")(described, index)
            address = _value(self._acl.rt.malloc(size, _HUGE_FIRST), "acl.rt.malloc")
            entry = self._acl.create_data_buffer(address, size)
            _value(mdl.add_dataset_buffer(data, entry), "acl.mdl.add_dataset_buffer")
            buffers.append(_Buffer(str(name), address, size))
        return buffers, data

    def _about(self, kind: str, call: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(self._acl.mdl, call.format(kind))
        return found

    def _fetch(self, index: int) -> Array:
        """Copy one output to the host."""
        mdl, described = self._acl.mdl, self._description
        dims = _value(mdl.get_output_dims(described, index), "acl.mdl.get_output_dims")["dims"]
        code = mdl.get_output_data_type(described, index)
        if code not in _TYPES:
            raise BackendError(f"output {index} has aclDataType {code}", "build with fp16 or fp32")
        array = np.empty(dims, _TYPES[code])
        self._copy(array.ctypes.data, self._outputs[index].address, array.nbytes, _TO_HOST)
        return array

    def _copy(self, target: int, source: int, size: int, direction: int) -> None:
        _check(self._acl.rt.memcpy(target, size, source, size, direction), "acl.rt.memcpy")


def _pyacl() -> ModuleType:
    try:
        return import_module("acl")
    except ImportError as cause:
        hint = "run on a machine with the CANN toolkit, after `source set_env.sh`"
        raise BackendError("pyACL (the module `acl`) is not installed here", hint) from cause


def _value(result: tuple[Any, int], call: str) -> Any:  # noqa: ANN401 - a pointer, an id or a dictionary
    value, code = result
    _check(code, call)
    return value


def _check(code: int, call: str, allowed: int = 0) -> None:
    if code not in (0, allowed):
        raise BackendError(f"{call} failed with {code}", "see the plog of the Ascend driver")
