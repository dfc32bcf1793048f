"""Objects of classes that nobody imports: kept as data, however they are pickled, and nothing of theirs runs."""

from __future__ import annotations

import argparse
import copyreg
import io
import pickle
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_examples import (
    ID,
    LEGACY_ID,
    LEGACY_TENSOR,
    TENSOR,
    BytesSource,
    bounded,
    problem,
    save,
    torch_legacy,
    torch_zip,
)

from vggcli.errors import ForbiddenError
from vggcli.weights.checkpoint import Inert, Opaque, Tensor, foreign_names, open_checkpoint
from vggcli.weights.checkpoint.pickle.machine import Machine
from vggcli.weights.checkpoint.problems import Unreadable
from vggcli.weights.checkpoint.source import Cursor

PROTOCOLS = range(6)


def run(data: bytes) -> Any:
    return Machine(Cursor(BytesSource(data), 0, len(data)), pytest.fail).run()


class Plain:
    def __init__(self) -> None:
        self.lr, self.names = 0.1, ["a", "b"]


class Slotted:
    __slots__ = ("lr",)

    def __init__(self) -> None:
        self.lr = 0.1


class Words(list[str]):
    pass


class Table(dict[str, int]):
    pass


class Seen(set[int]):
    pass


class Asking:
    def __new__(cls, size: int, *, unit: str = "px") -> Asking:
        return super().__new__(cls)

    def __getnewargs_ex__(self) -> tuple[tuple[int], dict[str, str]]:
        return (3,), {"unit": "mm"}


def name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_object_keeps_its_attributes(protocol: int) -> None:
    kept = run(pickle.dumps(Plain(), protocol))

    assert isinstance(kept, Inert)
    assert kept.name == name_of(Plain)
    assert kept.attributes == {"lr": 0.1, "names": ["a", "b"]}


@pytest.mark.parametrize("protocol", PROTOCOLS[2:])
def test_an_object_keeps_its_slots(protocol: int) -> None:
    assert run(pickle.dumps(Slotted(), protocol)).state == (None, {"lr": 0.1})


@pytest.mark.parametrize("protocol", PROTOCOLS[4:])
def test_an_object_keeps_its_arguments(protocol: int) -> None:
    kept = run(pickle.dumps(Asking(3), protocol))

    assert (kept.arguments, kept.entries) == ((3,), {"unit": "mm"})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_container_of_somebodys_own_keeps_what_it_holds(protocol: int) -> None:
    words, table, seen = run(pickle.dumps([Words(["x", "y"]), Table(a=1, b=2), Seen({5, 6})], protocol))

    assert (words.name, words.items) == (name_of(Words), ["x", "y"])
    assert (table.name, table.entries) == (name_of(Table), {"a": 1, "b": 2})
    assert seen.name == name_of(Seen)
    assert sorted(seen.items or seen.arguments[0]) == [5, 6]


def test_what_only_a_call_would_tell_is_kept_as_the_call() -> None:
    assert isinstance(run(b"cm\nf\n)R)R."), Inert)
    kept = run(b"cm\nf\n(K\x01K\x02tR.")
    assert (kept.name, kept.class_name, kept.arguments) == ("m.f", "f", (1, 2))


# NumPy's numbers and texts are plain values


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [np.float64(0.5), np.float32(1.5), np.float16(2), np.int64(-3), np.uint8(200), np.bool_(True), np.str_("né")],
    ids=repr,
)
def test_a_scalar_of_numpys_is_the_plain_value(protocol: int, value: Any) -> None:
    (found,) = run(pickle.dumps([value], protocol))

    assert found == value.item()
    assert type(found) is type(value.item())


def test_other_byte_orders_are_turned() -> None:
    kind = pickle.dumps(np.dtype(">i4"), 2)[2:-1]
    assert run(b"cnumpy.core.multiarray\nscalar\n(" + kind + b"C\x04\0\0\x01\x02tR.") == 258


def tree(value: list[Any], path: Path) -> list[Any]:
    """The values as they come out of a checkpoint, through torch's protocol."""
    path.write_bytes(torch_zip(b"\x80\x02" + TENSOR + pickle.dumps(value, 2)[2:-1] + b"\x86."))
    with open_checkpoint(path) as checkpoint:
        _, found = checkpoint.root  # type: ignore[misc]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    "array",
    [
        np.array(["cat", "dog", "né"]),
        np.array(["cat", "dog"], object),
        np.array([b"cat", b"dog"]),
        np.array(["cat", "dog"]).astype(">U3"),
    ],
    ids=lambda array: str(array.dtype),
)
def test_a_short_array_of_one_dimension_is_a_list(array: np.ndarray[Any, Any], tmp_path: Path) -> None:
    wanted = [value.decode() if isinstance(value, bytes) else value for value in array.tolist()]

    first, second = tree([array, array], tmp_path / "w")

    assert first == wanted
    assert first is second


@pytest.mark.parametrize(
    "value",
    [np.array([["a"]]), np.full(100_000, "a"), np.complex64(1), np.datetime64("2020-01-01"), np.zeros(2, "f4,i4")],
    ids=lambda value: str(value.dtype) + str(value.shape),
)
def test_whatever_else_numpy_pickles_stays_an_object(value: Any, tmp_path: Path) -> None:
    (kept,) = tree([value], tmp_path / "w")
    assert isinstance(kept, Inert | Opaque)
    assert kept.name.startswith("numpy.")


@pytest.mark.parametrize(
    "code",
    [
        b"cnumpy.core.multiarray\nscalar\n(NNtR.",
        b"cnumpy.core.multiarray\nscalar\n)R.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02i8tRU\x03abctR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02i8tR(K\x03U\x01<tbC\x03abctR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x09U99999999tR(K\x03U\x01<tbC\x03abctR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02U1tR(K\x03U\x01<tbC\x04\xff\xff\xff\xfftR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x02U0tR(K\x03U\x01<tbC\x00tR.",
    ],
)
def test_a_scalar_that_numpy_would_not_write_stays_an_object(code: bytes) -> None:
    assert isinstance(run(code), Inert | str)


# Files of training programs


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_objects_beside_the_weights_are_data(form: str, tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 3)
    saved = {
        "args": argparse.Namespace(lr=0.1, path=Path("/data")),
        "state_dict": network.state_dict(),
        "optimizer": torch.optim.Adam(network.parameters()),
        "milestones": Counter({30: 1}),
        "version": torch.__version__,
    }
    with open_checkpoint(save(saved, tmp_path / "w", form)) as checkpoint:
        root: Any = checkpoint.root

    assert root["args"].attributes["lr"] == 0.1
    assert root["args"].attributes["path"].arguments == ("/", "data")
    (group,) = root["optimizer"].attributes["param_groups"]
    assert [tensor.shape for tensor in group["params"]] == [(3, 2), (3,)]
    assert root["version"].arguments[0] == str(torch.__version__)
    assert foreign_names(root)[0] == "argparse.Namespace"
    assert "torch.optim.adam.Adam" in foreign_names(root)


def test_what_an_optimizer_keeps_by_parameter_is_found(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    with open_checkpoint(save({"optimizer": optimizer}, tmp_path / "w", "zip")) as checkpoint:
        root: Any = checkpoint.root

    state = root["optimizer"].attributes["state"]
    assert [type(key) for key in state] == [Tensor, Tensor]
    assert [held["momentum_buffer"].shape for held in state.values()] == [(3, 2), (3,)]


class Trainer:
    def __init__(self, model: torch.nn.Module) -> None:
        self.model, self.callbacks = model, [self]


@pytest.mark.parametrize("form", ["zip", "legacy"])
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_objects_that_lead_back_to_each_other_are_cut_there(form: str, tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 3)
    trainer = Trainer(model)
    model.trainer = trainer
    with open_checkpoint(save({"trainer": trainer}, tmp_path / "w", form)) as checkpoint:
        root: Any = checkpoint.root

    kept = root["trainer"].attributes
    assert [(type(one), one.name) for one in kept["callbacks"]] == [(Opaque, name_of(Trainer))]
    assert isinstance(kept["model"].attributes["trainer"], Opaque)
    assert kept["model"].attributes["_parameters"]["weight"].shape == (3, 2)


def test_a_plain_container_that_holds_itself_is_still_refused(tmp_path: Path) -> None:
    assert (
        "contains itself"
        in problem(torch_zip(b"}q\x01" + b"X\1\0\0\0a" + TENSOR + b"sK\x01h\x01s."), tmp_path / "w").why
    )


# Nothing runs: classes that can be imported here and would write a file if anything of theirs ran


CODE = """
from pathlib import Path

def touch(*arguments, **keywords):
    Path({path!r}).touch()
    return Armed.__base__()

class Armed(dict):
    def __new__(cls, *arguments, **keywords):
        touch()
        return super().__new__(cls)
    def __init__(self, *arguments, **keywords):
        touch()
    def __call__(self, *arguments):
        touch()
    def __setstate__(self, state):
        touch()
    def __setitem__(self, key, value):
        touch()
    def append(self, item):
        touch()
    def extend(self, items):
        touch()
    def add(self, item):
        touch()
    def __hash__(self):
        touch()
        return 0
    def __getattr__(self, name):
        touch()
        raise AttributeError(name)

class Quiet:
    def __setstate__(self, state):
        touch()

Path({imported!r}).touch()
"""
NAME = "somebodys_program"
FORMS = {
    "REDUCE of a function": b"csomebodys_program\ntouch\n)R",
    "REDUCE of a class": b"csomebodys_program\nArmed\n)R",
    "REDUCE with arguments": b"csomebodys_program\ntouch\n(K\x01U\x04rm -tR",
    "the arguments of a REDUCE": b"cm\nf\ncsomebodys_program\ntouch\n)R\x85R",
    "STACK_GLOBAL": b"\x8c\x11somebodys_program\x8c\x05touch\x93)R",
    "NEWOBJ": b"csomebodys_program\nArmed\n)\x81",
    "NEWOBJ_EX": b"csomebodys_program\nArmed\n)}\x92",
    "NEWOBJ_EX with keywords": b"csomebodys_program\nArmed\n)}U\x01aK\x01s\x92",
    "INST": b"(isomebodys_program\ntouch\n",
    "OBJ": b"(csomebodys_program\ntouch\no",
    "BUILD with __setstate__": b"csomebodys_program\nQuiet\n)\x81}U\x01aK\x01sb",
    "BUILD with __setstate__ of text": b"csomebodys_program\nQuiet\n)\x81U\x01ab",
    "_reconstructor": b"ccopyreg\n_reconstructor\n(csomebodys_program\nArmed\ncsomebodys_program\nArmed\n}tR",
    "__newobj__": b"ccopyreg\n__newobj__\ncsomebodys_program\nArmed\n\x85R",
    "__newobj_ex__": b"ccopyreg\n__newobj_ex__\n(csomebodys_program\nArmed\n)}tR",
    "APPEND": b"csomebodys_program\nArmed\n)RK\x01a",
    "APPENDS": b"csomebodys_program\nArmed\n)R(K\x01e",
    "ADDITEMS": b"csomebodys_program\nArmed\n)R(K\x01\x90",
    "SETITEM": b"csomebodys_program\nArmed\n)RK\x01K\x02s",
    "SETITEMS": b"csomebodys_program\nArmed\n)R(K\x01K\x02u",
    "a call of what a call gave": b"csomebodys_program\nArmed\n)R)R",
    "a key of a dict": b"}csomebodys_program\nArmed\n)RK\x01s",
    "a member of a set": b"\x8f(csomebodys_program\nArmed\n)R\x90",
    "a tensor's hooks": TENSOR.replace(b"ccollections\nOrderedDict\n)R", b"csomebodys_program\ntouch\n)R"),
    "a default factory": b"ccollections\ndefaultdict\ncsomebodys_program\ntouch\n\x85R",
    "a state of a state": b"cm\nf\n)\x81csomebodys_program\nQuiet\n)\x81}bb",
    "through the memo": b"csomebodys_program\ntouch\nq\x070h\x07)R",
}
REFUSED = {
    "EXT1": b"\x82\xf0)R",
    "EXT2": b"\x83\xf0\x00)R",
    "EXT4": b"\x84\xf0\x00\x00\x00)R",
    "a persistent id": b"csomebodys_program\ntouch\n)RQ",
    "a persistent id of text": b"Psomebodys_program.touch\n",
    "the class in a persistent id": b"(U\x07storagecsomebodys_program\ntouch\nU\x010U\x03cpuK\x06tQ",
    "a map": b"cbuiltins\nlist\ncbuiltins\nmap\ncsomebodys_program\ntouch\n](K\x01e\x86R\x85R",
    "an import": b"cimportlib\nimport_module\nU\x11somebodys_program\x85R",
    "getattr": b"c__builtin__\ngetattr\ncsomebodys_program\nArmed\nU\x08__call__\x86R",
}


@pytest.fixture
def sentinels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """Paths that appear when the program's code runs and when it is imported."""
    ran, imported = tmp_path / "ran", tmp_path / "imported"
    (tmp_path / f"{NAME}.py").write_text(CODE.format(path=str(ran), imported=str(imported)))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(copyreg._inverted_registry, 240, (NAME, "touch"))  # type: ignore[attr-defined]
    yield ran, imported
    sys.modules.pop(NAME, None)


class Careless(pickle.Unpickler):
    def persistent_load(self, saved_id: object) -> None:
        return None


@pytest.mark.parametrize("form", FORMS)
def test_each_of_these_is_alive(form: str, sentinels: tuple[Path, Path]) -> None:
    """Python's own unpickler runs them; without this, the next test might pass because they are harmless."""
    with suppress(AttributeError, TypeError, pickle.UnpicklingError):
        Careless(io.BytesIO(FORMS[form].replace(b"cm\nf\n", b"cargparse\nNamespace\n") + b".")).load()
    if form != "a default factory":  # which runs with the first key that is missing
        assert all(path.exists() for path in sentinels)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrap", [torch_zip, torch_legacy], ids=["zip", "legacy"])
def test_nothing_of_an_object_runs_or_is_imported(
    form: str, wrap: Callable[[bytes], bytes], sentinels: tuple[Path, Path], tmp_path: Path
) -> None:
    code = b"\x80\x02(" + TENSOR + FORMS[form] + b"t."
    if wrap is torch_legacy:
        code = code.replace(TENSOR, LEGACY_TENSOR).replace(ID, LEGACY_ID)
    path = tmp_path / "w.pth"
    path.write_bytes(wrap(code))

    with open_checkpoint(path) as checkpoint:
        repr(checkpoint.root)
        names = foreign_names(checkpoint.root)

    assert names or form in ("a key of a dict", "a member of a set", "a tensor's hooks", "a default factory")
    assert not any(sentinel.exists() for sentinel in sentinels)
    assert NAME not in sys.modules


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_refused_runs_nothing_either(form: str, sentinels: tuple[Path, Path], tmp_path: Path) -> None:
    error = problem(torch_zip(b"\x80\x02(" + TENSOR + REFUSED[form] + b"t."), tmp_path / "w.pth")

    assert not any(sentinel.exists() for sentinel in sentinels)
    assert NAME not in sys.modules
    if form.startswith("EXT"):
        assert isinstance(error, ForbiddenError)
        assert error.names == ("copyreg.extension code 240",)


class Reducing:
    """Pickles as a call of its own with everything that `__reduce__` may give."""

    def __reduce__(self) -> tuple[Any, ...]:
        program = sys.modules[NAME]
        return program.touch, (program.Quiet(),), {"a": program.Quiet()}, iter([1]), iter([("k", 2)])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_real_pickle_of_such_a_program_runs_nothing(
    protocol: int, sentinels: tuple[Path, Path], tmp_path: Path
) -> None:
    __import__(NAME)
    code = pickle.dumps(Reducing(), protocol)
    for sentinel in sentinels:
        sentinel.unlink(missing_ok=True)
    del sys.modules[NAME]

    kept = run(code)

    assert (kept.name, kept.items, kept.entries) == (f"{NAME}.touch", [1], {"k": 2})
    assert kept.arguments[0].name == f"{NAME}.Quiet"
    assert not any(sentinel.exists() for sentinel in sentinels)
    assert NAME not in sys.modules


# Bounds


@pytest.mark.long
def test_many_objects_take_bounded_memory(tmp_path: Path) -> None:
    code = b"cm\nV\nq\x010(" + TENSOR + b"h\x01)R}U\x01aK\x01sb" * 60_000 + b"t."
    (tmp_path / "w").write_bytes(torch_zip(code))
    with bounded(memory=256 << 20), open_checkpoint(tmp_path / "w") as checkpoint:
        assert len(checkpoint.root) == 60_001  # type: ignore[arg-type]
        assert foreign_names(checkpoint.root) == ("m.V",)


def test_many_parameters_are_keys(tmp_path: Path) -> None:
    """More than the numbers that may be keys: objects are told apart by identity, which no file can choose."""
    code = b"cm\nV\nq\x010(" + TENSOR + b"}(" + b"h\x01)RN" * 10_000 + b"ut."
    (tmp_path / "w").write_bytes(torch_zip(code))
    with open_checkpoint(tmp_path / "w") as checkpoint:
        _, held = checkpoint.root  # type: ignore[misc]
    assert len(held) == 10_000


def test_tuples_are_keys() -> None:
    value = {(1, "a"): 2, ("b",): 3}
    assert run(pickle.dumps(value, 2)) == value
    with pytest.raises(Unreadable):
        run(pickle.dumps({(1, (2,)): 3}, 2))


def test_an_ordered_dict_is_still_plain() -> None:
    assert run(pickle.dumps(OrderedDict(a=1), 2)) == {"a": 1}
