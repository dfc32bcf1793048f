"""The pickle machine: plain data of every protocol comes out as Python's own pickle put it in."""

from __future__ import annotations

import pickle
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest
from checkpoint_examples import BytesSource
from hypothesis import given, settings
from hypothesis import strategies as st

from vggcli.weights.checkpoint import Opaque
from vggcli.weights.checkpoint.pickle.machine import Machine
from vggcli.weights.checkpoint.problems import Forbidden, Unreadable
from vggcli.weights.checkpoint.source import BLOCK, Cursor

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 8000), 1 << 8000)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | TEXT
    | st.binary()
    | st.binary().map(bytearray)
)
KEYS = TEXT | st.integers(-(1 << 59), 1 << 59) | st.booleans() | st.none() | st.binary()
DATA = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.dictionaries(TEXT, inner).map(OrderedDict)
        | st.sets(KEYS)
        | st.frozensets(KEYS)
    ),
    max_leaves=20,
)


def no_storages(saved_id: object) -> object:
    raise Unreadable("no storages here")


def run(data: bytes) -> object:
    return Machine(Cursor(BytesSource(data), 0, len(data)), no_storages).run()


@pytest.mark.parametrize("protocol", range(6))
@given(value=DATA)
@settings(max_examples=80, deadline=None)
def test_plain_data_of_every_protocol(protocol: int, value: object) -> None:
    assert run(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(6))
def test_large_containers_come_in_batches(protocol: int) -> None:
    value = {f"key{i}": [i, float(i)] for i in range(5000)}
    assert run(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("size", [BLOCK - 12, BLOCK, BLOCK + 1, 5 * BLOCK])
def test_operands_across_the_blocks_that_are_read(size: int) -> None:
    value = ["x" * size, b"y" * size, "z" * 3]
    for protocol in (0, 2, 4):
        assert run(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(2, 6))
def test_counters_and_default_dictionaries_become_plain(protocol: int) -> None:
    value = {"milestones": Counter({30: 1, 60: 2}), "log": defaultdict(list, loss=[0.5])}
    assert run(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("value", [np.float64(0.5), np.int64(3)])
def test_numpys_scalars_are_kept_by_name_and_never_made(protocol: int, value: object) -> None:
    (kept,) = run(pickle.dumps([value], protocol))  # type: ignore[misc]
    assert isinstance(kept, Opaque)


def test_a_shared_list_stays_shared() -> None:
    inner: list[int] = [1]
    first, second = run(pickle.dumps([inner, inner], 2))  # type: ignore[misc]
    assert first is second


def test_the_cursor_stops_behind_the_pickle() -> None:
    data = pickle.dumps([1], 4) + pickle.dumps("next", 4)
    cursor = Cursor(BytesSource(data), 0, len(data))
    assert Machine(cursor, no_storages).run() == [1]
    assert cursor.tell() == len(pickle.dumps([1], 4))
    assert Machine(cursor, no_storages).run() == "next"


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(b".", id="STOP without a value"),
        pytest.param(b"0.", id="POP without a value"),
        pytest.param(b"N(.", id="STOP under an open mark"),
        pytest.param(b"N1.", id="POP_MARK without a mark"),
        pytest.param(b"Nt.", id="TUPLE without a mark"),
        pytest.param(b"2.", id="DUP without a value"),
        pytest.param(b"N\x86.", id="TUPLE2 of one value"),
        pytest.param(b"N(\x85.", id="TUPLE1 across a mark"),
        pytest.param(b"NNa.", id="APPEND to None"),
        pytest.param(b"}Na.", id="APPEND to a dict"),
        pytest.param(b"](NNu.", id="SETITEMS on a list"),
        pytest.param(b"}(Nu.", id="SETITEMS with a key and no value"),
        pytest.param(b"}]Ns.", id="a list as a key"),
        pytest.param(b"})Ns.", id="a tuple as a key"),
        pytest.param(b"}G\x7f\xf8\0\0\0\0\0\0Ns.", id="NaN as a key"),
        pytest.param(b"}\x8a\x08" + b"\xff" * 7 + b"\x1fNs.", id="a key whose hash others share"),
        pytest.param(b"}(K\x01NK\x01Nu.", id="the same key twice"),
        pytest.param(b"}(K\x01N\x88Nu.", id="equal keys"),
        pytest.param(b"(NN\x90.", id="ADDITEMS to nothing"),
        pytest.param(b"\x8f(]\x90.", id="a list in a set"),
        pytest.param(b"(]\x91.", id="a list in a frozenset"),
        pytest.param(b"h\0.", id="GET of nothing"),
        pytest.param(b"Nq\x05h\x04.", id="GET of a gap"),
        pytest.param(b"g-1\n.", id="GET of a negative index"),
        pytest.param(b"Np-1\n.", id="PUT at a negative index"),
        pytest.param(b"q\0.", id="PUT of nothing"),
        pytest.param(b"NNR.", id="REDUCE of None"),
        pytest.param(b"X\x02\0\0\0os)R.", id="REDUCE of a text"),
        pytest.param(b"ccollections\nOrderedDict\nNR.", id="REDUCE without a tuple"),
        pytest.param(b"ctorch\nfloat32\n)R.", id="REDUCE of a dtype"),
        pytest.param(b"ctorch\nFloatStorage\nK\x05\x85R.", id="REDUCE of a storage class"),
        pytest.param(b"NNb.", id="BUILD of None"),
        pytest.param(b"ccollections\nOrderedDict\n)}K\x01K\x02s\x92.", id="NEWOBJ_EX with keywords"),
        pytest.param(b"ccollections\nOrderedDict\n]K\x01a\x85R.", id="a dict of numbers"),
        pytest.param(b"ccollections\nOrderedDict\nK\x01\x85R.", id="a dict of a number"),
        pytest.param(b"cbuiltins\nset\n]]a\x85R.", id="a set of lists"),
        pytest.param(b"cbuiltins\ncomplex\nK\x01K\x02\x86R.", id="a complex number of whole numbers"),
        pytest.param(b"cbuiltins\nbytes\nK\x05\x85R.", id="bytes of a number"),
        pytest.param(b"c_codecs\nencode\nX\x02\0\0\0\xc4\x80X\x06\0\0\0latin1\x86R.", id="bytes beyond 255"),
        pytest.param(b"ctorch._utils\n_rebuild_tensor\n(NNNNtR.", id="a tensor without a storage"),
        pytest.param(b"ctorch._utils\n_rebuild_tensor_v3\n(NNNNtR.", id="a tensor without a dtype"),
        pytest.param(b"ctorch._utils\n_rebuild_parameter\n)R.", id="a parameter without a tensor"),
        pytest.param(b"ctorch._utils\n_rebuild_parameter\nctorch\nFloatTensor\n)R\x85R.", id="an empty parameter"),
        pytest.param(b"ctorch.nn.parameter\nParameter\nK\x01\x85R.", id="a parameter of a number"),
        pytest.param(b"ctorch._tensor\n_rebuild_from_type_v2\n(NN)}tR.", id="a tensor without a class"),
        pytest.param(
            b"ctorch._tensor\n_rebuild_from_type_v2\n(ccollections\nOrderedDict\nctorch\nTensor\n)}tR.",
            id="a tensor without its rebuild function",
        ),
        pytest.param(b"](l)b.", id="BUILD of a list"),
        pytest.param(b"(o.", id="OBJ of nothing"),
        pytest.param(b"NQ.", id="a persistent id that is None"),
        pytest.param(b"Pstorage\n.", id="a persistent id of protocol 0"),
        pytest.param(b"\x97.", id="a buffer outside the file"),
        pytest.param(b"N\x98.", id="a read-only buffer"),
        pytest.param(b"\x80\x06N.", id="a protocol that does not exist"),
        pytest.param(b"\xff.", id="no opcode"),
        pytest.param(b"\x93.", id="STACK_GLOBAL without names"),
        pytest.param(b"K\x01K\x02\x93.", id="STACK_GLOBAL of numbers"),
        pytest.param(b"Iten\n.", id="INT that is no number"),
        pytest.param(b"Ften\n.", id="FLOAT that is no number"),
        pytest.param(b"Sabc\n.", id="STRING without quotes"),
        pytest.param(b"S'\\x\n.", id="STRING with one quote"),
        pytest.param(b"S'\\x4'\n.", id="STRING with a broken escape"),
        pytest.param(b"V\\ud800\n.", id="UNICODE with half a character"),
        pytest.param(b"V\\u12\n.", id="UNICODE with a broken escape"),
        pytest.param(b"X\x03\0\0\0\xed\xa0\x80.", id="BINUNICODE with half a character"),
        pytest.param(b"U\x01\xff.", id="SHORT_BINSTRING that is not UTF-8"),
        pytest.param(b"T\xff\xff\xff\xff.", id="BINSTRING of negative length"),
        pytest.param(b"\x8b\xff\xff\xff\xff.", id="LONG4 of negative length"),
        pytest.param(b"\x8b\x01\x04\0\0" + b"\1" * 1025 + b".", id="LONG4 of 1,025 bytes"),
        pytest.param(b"L" + b"9" * 5000 + b"L\n.", id="LONG of 5,000 digits"),
        pytest.param(b"c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0ascii\x86R.", id="an encoding that pickle never uses"),
    ],
)
def test_code_that_no_pickler_writes_is_damaged(code: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        run(code)
    assert not isinstance(caught.value, Forbidden)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        pytest.param(b"(K\x01K\x02tK\x030.", (1, 2), id="POP of a value"),
        pytest.param(b"K\x01(0.", 1, id="POP of a mark"),
        pytest.param(b"N(K\x01K\x021.", None, id="POP_MARK"),
        pytest.param(b"K\x072\x86.", (7, 7), id="DUP"),
        pytest.param(b"(K\x01Nd.", {1: None}, id="DICT"),
        pytest.param(b"(K\x01K\x02l.", [1, 2], id="LIST"),
        pytest.param(b"]q\x05h\x05K\x01aK\x010.", [1], id="PUT with a gap"),
        pytest.param(b"K\x05q\x03K\x06\x940h\x01.", 6, id="MEMOIZE after a gap counts what is stored"),
        pytest.param(b"\x96\x02\0\0\0\0\0\0\0ab.", b"ab", id="BYTEARRAY8"),
        pytest.param(b"T\x02\0\0\0ab.", "ab", id="BINSTRING"),
        pytest.param(b"S'a\\x41'\n.", "aA", id="STRING"),
        pytest.param(b"I01\n.", True, id="INT that is a bool"),
    ],
)
def test_rare_code_does_what_pickle_does(code: bytes, value: object) -> None:
    assert pickle.loads(code) == value
    assert run(code) == value
