"""Old body files: honest ones are read, hostile ones are refused by name and nothing of them runs."""

import builtins
import io
import os
import pickle
import pickletools
import struct
import sys
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from kinema.body.legacy_pickle import ADMITTED, Refused, _Unpickler, read_legacy_pickle
from kinema.errors import InputError


class Calls:
    """Pickles as a call of `function` on `arguments`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.fixture
def chumpy(monkeypatch):
    """A module of chumpy's name whose Ch pickles as the real one does: by its attributes."""
    module = types.ModuleType("chumpy.ch")

    class Ch:
        def __init__(self, x):
            self.x = x

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return Ch


def write(path, value, protocol=2):
    path.write_bytes(pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_honest_files_come_back(tmp_path, chumpy, protocol):
    rng = np.random.default_rng(0)
    whole = {
        "v_template": chumpy(rng.normal(size=(5, 3))),
        "f": np.arange(6, dtype=np.uint32).reshape(2, 3),
        "column_major": np.asfortranarray(rng.normal(size=(4, 2)).astype(np.float32)),
        "big_endian": np.arange(4, dtype=">i4"),
        "csc": sparse.csc_matrix(np.eye(3)),
        "csr": sparse.csr_matrix(np.triu(np.ones((2, 4)))),
        "scalar": np.float64(2.5),
        "words": np.array(["a", "bc"]),
        "bs_type": "lrotmin",
        "number": 3,
        "names": {"left": 0},
    }
    found = read_legacy_pickle(write(tmp_path / "body.pkl", whole, protocol))
    np.testing.assert_array_equal(found["v_template"], whole["v_template"].x)
    for key in ("f", "column_major", "big_endian", "words"):
        np.testing.assert_array_equal(found[key], whole[key])
        assert found[key].dtype.newbyteorder("=") == whole[key].dtype.newbyteorder("=")
    for key in ("csc", "csr"):
        np.testing.assert_array_equal(found[key], whole[key].toarray())
    assert (found["scalar"], found["bs_type"], found["number"]) == (2.5, "lrotmin", 3)
    assert "names" not in found


def test_python_2_files_come_back(tmp_path):
    """Written out by hand: text that is bytes, copy_reg, the old names of numpy's and scipy's modules."""
    data = struct.pack("<2d", 1.5, -200.25)
    text = b"U" + bytes([len(data)]) + data
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n"
        b"(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n" + text + b"tb"
    )
    chumpy = b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\nc__builtin__\nobject\nNtR(dS'x'\n" + array + b"sb"
    path = tmp_path / "old.pkl"
    path.write_bytes(b"(dS'plain'\n" + array + b"sS'wrapped'\n" + chumpy + b"s.")
    found = read_legacy_pickle(path)
    np.testing.assert_array_equal(found["plain"], [1.5, -200.25])
    np.testing.assert_array_equal(found["wrapped"], [1.5, -200.25])


def test_chumpy_selections_are_worked_out_and_other_expressions_left_out(tmp_path, chumpy, monkeypatch):
    module = types.ModuleType("chumpy.reordering")
    for name in ("Select", "transpose"):
        made = type(
            name, (), {"__module__": "chumpy.reordering", "__init__": lambda self, **state: vars(self).update(state)}
        )
        setattr(module, name, made)
    monkeypatch.setitem(sys.modules, "chumpy.reordering", module)
    whole = np.arange(24.0).reshape(2, 3, 4)
    kept = np.arange(24).reshape(2, 3, 4)[..., :2]
    select = module.Select(a=chumpy(whole), idxs=kept.ravel(), preferred_shape=(2, 3, 2))
    body = {"shapedirs": select, "J": module.transpose(a=chumpy(whole)), "f": kept}
    found = read_legacy_pickle(write(tmp_path / "body.pkl", body))
    np.testing.assert_array_equal(found["shapedirs"], whole[..., :2])
    assert set(found) == {"shapedirs", "f"}


def hostile():
    touch = Calls(os.system, "touch ran")
    yield "system", touch, f"{os.system.__module__}.system"
    yield "nested in an array's list", {"v": [(1, {"w": touch})]}, "system"
    yield "eval", Calls(eval, "open('ran', 'w')"), "eval"
    yield "exec", Calls(exec, "open('ran', 'w')"), "exec"
    yield "getattr", Calls(getattr, "a", "upper"), "getattr"
    yield "import", Calls(__import__, "os"), "__import__"
    yield "open", Calls(builtins.open, "ran", "w"), "open"
    yield "loads in loads", Calls(pickle.loads, pickle.dumps(touch)), "loads"
    yield "numpy's own pickles", Calls(np.load, "x.npy"), "load"


@pytest.mark.parametrize(("attack", "name"), [(a, n) for _, a, n in hostile()], ids=[i for i, _, _ in hostile()])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_files_are_refused_by_name_and_do_not_run(tmp_path, monkeypatch, attack, name, protocol):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "bad.pkl", {"f": np.zeros(3), "v_template": attack}, protocol)
    with pytest.raises(InputError, match=name) as caught:
        read_legacy_pickle(path)
    assert "refused" in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'touch ran'\ntR.",
        b"(S'touch ran'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch ran'\no.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.",
        b"\x80\x04\x8c\x05numpy\x8c\x15ndarray.__reduce_ex__\x93.",
        b"\x80\x04\x8c\x0akinema.body\x8c\x07np.load\x93.",
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"ccopy_reg\n_reconstructor\n(cnumpy.core.multiarray\n_reconstruct\nc__builtin__\nobject\nNtR.",
        b"c_codecs\nencode\n(S'abc'\nS'zip'\ntR.",
        b"Ppersistent\n.",
        b"\x80\x02\x82\x01.",
    ],
)
def test_programs_in_other_forms(tmp_path, monkeypatch, program):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pkl").write_bytes(program)
    with pytest.raises(InputError):
        read_legacy_pickle("bad.pkl")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_cannot_change_what_it_is_read_with(tmp_path):
    before = {name: dict(vars(kind)) for name, kind in ADMITTED.items()}
    change = b"(S'resolve'\nI1\nd"
    for name, kind in ADMITTED.items():
        at = f"c{name[0]}\n{name[1]}\n".encode()
        for state in (
            b"(S'__new__'\nI1\ndb.",
            b"(N(S'__setstate__'\nI1\ndtb.",
            b"(N" + change + b"tb.",
            change + b"b.",
        ):
            (tmp_path / "bad.pkl").write_bytes(at + state)
            with pytest.raises(InputError):
                read_legacy_pickle(tmp_path / "bad.pkl")
        assert dict(vars(kind)) == before[name]


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        (b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I9\ntcnumpy\ndtype\n(S'f8'\ntRI00\nS'ab'\ntb", "fill"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\ntRI00\n(lI1\natb", "O8"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I-1\ntcnumpy\ndtype\n(S'f8'\ntRI00\nS''\ntb", "shape"),
        (b"cnumpy\nndarray\n(tR", "cannot be read"),
        (b"cchumpy.ch\nCh\n(tR", "cannot be read"),
        (b"cnumpy\ndtype\n(S'f8,O'\ntR", "type"),
    ],
)
def test_entries_that_lie_about_themselves(tmp_path, entry, word):
    (tmp_path / "bad.pkl").write_bytes(b"(dS'v_template'\n" + entry + b"s.")
    with pytest.raises(InputError, match=word) as caught:
        read_legacy_pickle(tmp_path / "bad.pkl")
    assert "v_template" in str(caught.value)


def test_a_sparse_matrix_whose_indices_lead_outside(tmp_path):
    matrix = sparse.csc_matrix(np.eye(3))
    matrix.indices[1] = 90
    with pytest.raises(InputError, match="J_regressor"):
        read_legacy_pickle(write(tmp_path / "bad.pkl", {"J_regressor": matrix}))


def test_an_array_that_contains_itself(tmp_path):
    (tmp_path / "bad.pkl").write_bytes(b"(dS'a'\ncchumpy.ch\nCh\n(tRp1\n(dS'x'\ng1\nsbs.")
    with pytest.raises(InputError):
        read_legacy_pickle(tmp_path / "bad.pkl")


def test_truncated_files(tmp_path):
    whole = pickle.dumps({"f": np.arange(100), "J": sparse.csc_matrix(np.eye(4))}, 2)
    for end in range(0, len(whole) - 1, 7):
        (tmp_path / "cut.pkl").write_bytes(whole[:end])
        with pytest.raises(InputError):
            read_legacy_pickle(tmp_path / "cut.pkl")


@given(noise=st.binary(max_size=200))
def test_bytes_that_are_no_pickle(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("noise") / "noise.pkl"
    path.write_bytes(noise)
    try:
        read_legacy_pickle(path)
    except InputError:
        return
    assert isinstance(_Unpickler(io.BytesIO(noise)).load(), dict)


@given(where=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_one_wrong_byte_never_does_more_than_fail(tmp_path_factory, where, byte):
    whole = bytearray(pickle.dumps({"f": np.arange(20), "J": sparse.csc_matrix(np.eye(4)), "s": np.float32(1)}, 2))
    whole[where % len(whole)] = byte
    path = tmp_path_factory.mktemp("flip") / "flip.pkl"
    path.write_bytes(whole)
    try:
        found = read_legacy_pickle(path)
    except InputError:
        return
    assert all(isinstance(value, np.ndarray | str | int | float) for value in found.values())


def test_other_things_than_dicts(tmp_path):
    with pytest.raises(InputError, match="list"):
        read_legacy_pickle(write(tmp_path / "list.pkl", [1, 2]))
    with pytest.raises(InputError, match="no such file"):
        read_legacy_pickle(tmp_path / "missing.pkl")
    with pytest.raises(InputError):
        read_legacy_pickle(tmp_path)


def test_every_admitted_name_is_one_of_our_own_inert_classes():
    assert {kind.__module__ for kind in ADMITTED.values()} == {"kinema.body.legacy_pickle"}
    assert issubclass(Refused, pickle.UnpicklingError)
    names = {name for op, name, _ in pickletools.genops(pickle.dumps(np.arange(3), 2)) if op.name == "GLOBAL"}
    assert all(tuple(name.split(" ")) in ADMITTED for name in names)
