"""Read the arrays of an old body file (SMAL, SMPL: Python 2 pickles with chumpy inside) and execute nothing.

Input: a pickle of a dict. Output: its arrays (scipy.sparse ones dense), numbers and strings. A pickle is a program whose
instructions can call anything that can be imported. Here every name it may ask for stands for an inert class that
only keeps what it is given; any other name is refused. No object of numpy's, scipy's or chumpy's is made by the
pickle: arrays are built afterwards from checked shapes, types and bytes.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kinema.errors import InputError

Value = np.ndarray | str | int | float
_MOST_ENTRIES = 10**8
"""Of a sparse matrix written out; a joint regressor has some 10^5."""
_PLAIN_DTYPE = re.compile(r"[<>|=]?(b1|\?|[iuf][1248]|[SU]\d+)")


class Refused(pickle.UnpicklingError):
    """The file asks for something that isn't in the table of admitted names."""


class _Sealed(type):
    """A class that a pickle cannot change: its BUILD instruction may set attributes of whatever is on its stack."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise Refused(f"to change {cls.__name__}")


class _StandIn(metaclass=_Sealed):
    """Keeps the arguments and the state that it is given, and does nothing with them."""

    arguments: tuple
    state: Any

    def __new__(cls, *arguments: Any, **named: Any):
        made = object.__new__(cls)
        made.arguments, made.state = arguments, None
        return made

    def __init__(self, *arguments: Any, **named: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def resolve(self) -> Any:
        """The value it stands for. Raises what is in `_DAMAGED` where it stands for none."""
        raise ValueError("an object without a value")


class _Dtype(_StandIn):
    """numpy.dtype(code, ...), its state (version, byte order, ...)."""

    def resolve(self) -> np.dtype:
        code = self.arguments[0] if self.arguments else None
        if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
            raise ValueError(f"an array of type {code!r}")
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        return np.dtype(code).newbyteorder(order if order in ("<", ">") else "=")


class _Array(_StandIn):
    """numpy.ndarray, its state (version, shape, dtype, column-major, bytes)."""

    def resolve(self) -> np.ndarray:
        _, shape, dtype, column_major, data = self.state
        return _array(data, dtype, shape, "F" if column_major else "C")


class _FromBuffer(_StandIn):
    """numpy's _frombuffer(bytes, dtype, shape, order), which newer pickles use."""

    def resolve(self) -> np.ndarray:
        return _array(*self.arguments)


class _Scalar(_StandIn):
    """numpy's scalar(dtype, bytes)."""

    def resolve(self) -> float | int:
        dtype, data = self.arguments
        return _array(data, dtype, (1,), "C")[0].item()


class _Chumpy(_StandIn):
    """chumpy.Ch: its array is what its state has as x."""

    def resolve(self) -> Value:
        return _resolve(self.state["x"])


class _Select(_StandIn):
    """chumpy.reordering.Select: entries `idxs` of the flattened array a, in a shape of their own."""

    def resolve(self) -> Value:
        chosen = np.ravel(_resolve(self.state["a"]))[np.asarray(_resolve(self.state["idxs"]))]
        return chosen.reshape([int(n) for n in self.state["preferred_shape"]])


class _Expression(_StandIn):
    """Some other chumpy expression: bodies that were saved after use have them for what follows from the rest."""


class _Sparse(_StandIn):
    """A compressed scipy.sparse matrix, its state a dict of its arrays."""

    kind: str

    def resolve(self) -> np.ndarray:
        from scipy import sparse

        state = {key: _resolve(value) for key, value in self.state.items() if isinstance(value, _StandIn)}
        shape = tuple(int(n) for n in self.state.get("_shape", self.state.get("shape")))
        if len(shape) != 2 or not 0 <= math.prod(shape) <= _MOST_ENTRIES:
            raise ValueError(f"a matrix of shape {shape}")
        kind = sparse.csc_matrix if self.kind == "csc" else sparse.csr_matrix
        matrix = kind((state["data"], state["indices"], state["indptr"]), shape)
        matrix.check_format(full_check=True)
        return matrix.toarray()


class _Csc(_Sparse):
    kind = "csc"


class _Csr(_Sparse):
    kind = "csr"


class _Object(_StandIn):
    """builtins.object, as an argument of `_Rebuild`."""


class _NewArray(metaclass=_Sealed):
    """numpy's _reconstruct(ndarray, (0,), b"b"): an array that gets its state later."""

    def __new__(cls, *arguments: Any):
        return _Array()


class _Rebuild(metaclass=_Sealed):
    """copyreg's _reconstructor(class, base, state): an object that gets its state later."""

    def __new__(cls, kind: Any, base: Any, state: Any):
        if not (isinstance(kind, type) and issubclass(kind, _StandIn)):
            raise Refused(f"to rebuild {kind!r}")
        return kind()


class _Encode(metaclass=_Sealed):
    """_codecs.encode(text, "latin1"): how Python 3 writes bytes for Python 2."""

    def __new__(cls, text: Any, encoding: Any):
        if not (isinstance(text, str) and encoding in ("latin1", "latin-1")):
            raise Refused(f"to encode as {encoding!r}")
        return text.encode("latin1")


def _admitted() -> dict[tuple[str, str], type]:
    table: dict[tuple[str, str], type] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
        ("_codecs", "encode"): _Encode,
        ("chumpy.ch", "Ch"): _Chumpy,
        ("chumpy", "Ch"): _Chumpy,
        ("chumpy.reordering", "Select"): _Select,
        ("chumpy.reordering", "transpose"): _Expression,
        ("chumpy.ch", "MatVecMult"): _Expression,
        ("chumpy.ch_ops", "add"): _Expression,
    }
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray", "_reconstruct"] = _NewArray
        table[f"{core}.multiarray", "scalar"] = _Scalar
        table[f"{core}.numeric", "_frombuffer"] = _FromBuffer
    for kind, stand_in in (("csc", _Csc), ("csr", _Csr)):
        for module in (f"scipy.sparse.{kind}", f"scipy.sparse._{kind}", "scipy.sparse"):
            table[module, f"{kind}_matrix"] = stand_in
    for builtins, copyreg in (("__builtin__", "copy_reg"), ("builtins", "copyreg")):
        table[builtins, "object"] = _Object
        table[copyreg, "_reconstructor"] = _Rebuild
    return table


ADMITTED: dict[tuple[str, str], type] = _admitted()
"""(module, name) that a pickle may ask for -> the inert class that it gets."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable:
        if (module, name) not in ADMITTED:
            raise Refused(f"for {module}.{name}")
        return ADMITTED[module, name]

    def persistent_load(self, pid: object) -> None:
        raise Refused("for an object outside itself")


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """Bytes (or the latin-1 text that Python 2 wrote them as) to an array of its own memory."""
    if not (isinstance(dtype, _Dtype) and isinstance(shape, tuple) and order in ("C", "F")):
        raise ValueError("an array without a type, shape or order")
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(f"an array of shape {shape!r}")
    raw = data.encode("latin1") if isinstance(data, str) else data
    kind = dtype.resolve()
    if not isinstance(raw, bytes | bytearray) or len(raw) != math.prod(shape) * kind.itemsize:
        raise ValueError(f"an array of shape {shape} whose bytes don't fill it")
    return np.frombuffer(raw, kind).reshape(shape, order=order).astype(kind.newbyteorder("="))


def _resolve(value: Any) -> Value:
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, _StandIn):
        return value.resolve()
    raise ValueError(f"a value of type {type(value).__name__}")


def read_legacy_pickle(path: str | Path) -> dict[str, Value]:
    """The entries of a pickled dict that are arrays, numbers or strings; entries of other kinds are left out.

    Raises InputError where the file is missing, is no pickle of a dict, is damaged, or asks for anything that isn't
    in `ADMITTED`; nothing of the file has been executed then, nor otherwise.
    """
    expected = "a body file of SMAL's or SMPL's makers: a pickled dict of arrays"
    try:
        with Path(path).open("rb") as file:
            found = _Unpickler(file, encoding="latin1").load()
    except FileNotFoundError as error:
        raise InputError(path, "no such file") from error
    except Refused as error:
        raise InputError(
            path,
            f"is refused: the pickle asks {error}, which a body file has no need of; nothing was executed",
            expected,
            "get the file from its makers' own site; don't open this one with other tools",
        ) from error
    except _DAMAGED as error:
        raise InputError(path, f"is not a pickle, or a damaged one ({error})", expected) from error
    if not isinstance(found, dict):
        raise InputError(path, f"holds a {type(found).__name__}", expected)
    values: dict[str, Value] = {}
    for key, value in found.items():
        known = isinstance(value, str | int | float | _StandIn) and not isinstance(value, _Expression)
        if not (isinstance(key, str) and known):
            continue
        try:
            values[key] = _resolve(value)
        except _DAMAGED as error:
            raise InputError(f"{path}, entry {key!r}", f"cannot be read: {error}", expected) from error
    return values


_DAMAGED = (
    pickle.UnpicklingError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, ImportError,
    OverflowError, MemoryError, RecursionError, OSError,
)  # fmt: skip
"""What unpickling or resolving a damaged file raises."""
