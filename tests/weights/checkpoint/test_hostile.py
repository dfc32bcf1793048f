"""Files made to do harm: nothing in them runs, and each ends in a clean error in bounded time and memory."""

from __future__ import annotations

import ast
import io
import pickle
import re
import struct
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_examples import (
    ID,
    LEGACY_HEAD,
    LEGACY_ID,
    LEGACY_TENSOR,
    TENSOR,
    bounded,
    problem,
    save,
    torch_legacy,
    torch_zip,
)

import vggcli
from vggcli.errors import CheckpointError, ForbiddenError
from vggcli.weights.checkpoint import Inert, open_checkpoint
from vggcli.weights.checkpoint.pickle.hostile import is_hostile


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def reduce(name: str, *arguments: bytes) -> bytes:
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode() + b"(" + b"".join(arguments) + b"tR"


# Every place of a pickle where a call can stand. `COMMAND` is replaced by the text of a shell command; those marked
# as live run it when Python's own unpickler reads them, which a test below makes sure of.
CALL = b"cos\nsystem\nCOMMAND\x85R"
LIVE = {
    "REDUCE": CALL,
    "STACK_GLOBAL": text("os") + text("system") + b"\x93COMMAND\x85R",
    "STACK_GLOBAL through the memo": text("os") + b"q\x07" + text("system") + b"q\x0800h\x07h\x08\x93COMMAND\x85R",
    "posix": b"cposix\nsystem\nCOMMAND\x85R",
    "INST": b"(COMMANDios\nsystem\n",
    "OBJ": b"(cos\nsystem\nCOMMANDo",
    "the function through the memo": b"cos\nsystem\nq\x070h\x07COMMAND\x85R",
    "Python 2's names": b"c__builtin__\neval\n" + text("__import__('os').system") + b"\x85Rq\x070h\x07COMMAND\x85R",
    "a list item": b"]" + CALL + b"a",
    "list items": b"](" + CALL + CALL + b"e",
    "LIST": b"(" + CALL + b"l",
    "a tuple item": CALL + b"\x85",
    "a dict value": b"}K\x01" + CALL + b"s",
    "a dict key": b"}" + CALL + b"K\x01s",
    "DICT": b"(" + CALL + b"Nd",
    "a set item": b"\x8f(" + CALL + b"\x90",
    "a frozenset item": b"(" + CALL + b"\x91",
    "the state of BUILD": b"ccollections\nOrderedDict\n)R}" + text("a") + CALL + b"sb",
    "a value that is dropped": CALL + b"0N",
    "a value under a mark that is dropped": b"N(" + CALL + b"1",
    "an argument of a known function": reduce("collections.OrderedDict", b"](" + text("a") + CALL + b"\x86e"),
    "a persistent id": CALL + b"Q",
    "the key in a persistent id": b"(" + text("storage") + b"ccollections\nOrderedDict\n" + CALL + b"tQ",
    "a default dictionary": reduce("collections.defaultdict", CALL),
    "bytes of an encoding": reduce("_codecs.encode", CALL, text("latin1")),
    "partial": reduce("functools.partial", b"cos\nsystem\n", b"COMMAND") + b")R",
    "map and list": reduce("builtins.list", reduce("builtins.map", b"cos\nsystem\n", b"(COMMANDt")),
}
DEAD = {  # forbidden, though they need more than a plain unpickler to run
    "NEWOBJ": b"cos\nsystem\nCOMMAND\x85\x81",
    "NEWOBJ_EX": b"cos\nsystem\nCOMMAND\x85}\x92",
    "mentioned only": b"cos\nsystem\n",
    "the state itself": b"ccollections\nOrderedDict\n)Rcos\nsystem\nb",
    "BUILD of a name": b"cos\nsystem\n}b",
    "a storage class": TENSOR.replace(b"ctorch\nFloatStorage\n", b"cos\nsystem\n"),
    "a rebuild function": TENSOR.replace(b"ctorch._utils\n_rebuild_tensor_v2\n", b"cos\nsystem\n"),
    "a tensor's hooks": TENSOR.replace(b"ccollections\nOrderedDict\n)R", b"cos\nsystem\nCOMMAND\x85R"),
    "a tensor's class": reduce(
        "torch._tensor._rebuild_from_type_v2", b"cos\nsystem\n", b"ctorch\nTensor\n", b"(t", b"}"
    ),
    "a name with dots": text("torch._utils") + text("_rebuild_tensor_v2.__globals__") + b"\x93",
    "the extension registry": b"\x82\x07",
    "torch's own nested loader": reduce("torch.storage._load_from_bytes", b"C\x01a"),
    "getattr": reduce("builtins.getattr", b"cos\n_exit\n", text("__call__")),
    "NumPy's loader": reduce("numpy.load", b"COMMAND"),
}
PLACES = LIVE | DEAD
KNOWN = {"torch._utils._rebuild_tensor_v2", "torch.FloatStorage", "torch.Tensor", "collections.OrderedDict"}


def armed(code: bytes, canary: Path) -> bytes:
    return code.replace(b"COMMAND", text(f"touch {canary}"))


class Careless(pickle.Unpickler):
    def persistent_load(self, saved_id: object) -> None:
        return None


@pytest.mark.parametrize("place", LIVE)
def test_the_payload_is_alive(place: str, tmp_path: Path) -> None:
    """Without this, the next test might pass because the payloads are harmless."""
    canary = tmp_path / "canary"
    try:
        Careless(io.BytesIO(armed(LIVE[place], canary) + b".")).load()
    except (TypeError, AttributeError):
        assert place in ("bytes of an encoding", "a default dictionary", "the key in a persistent id")
    assert canary.exists()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("file", ["zip", "legacy", "plain", "magic", "version", "machine", "keys", "protocol 0"])
def test_nothing_runs_wherever_the_payload_stands(place: str, file: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    code = armed(PLACES[place], canary)
    parts = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {})]
    legacy_code = code.replace(ID, LEGACY_ID)
    data = {
        "zip": torch_zip(b"\x80\x02" + TENSOR + code + b"\x86."),
        "legacy": torch_legacy(b"\x80\x02" + LEGACY_TENSOR + legacy_code + b"\x86."),
        "plain": b"\x80\x04" + code + b".",
        "magic": b"\x80\x02" + code + b"0" + parts[0][2:] + parts[1] + parts[2] + LEGACY_TENSOR + b".",
        "version": parts[0] + b"\x80\x02" + code + b"0" + parts[1][2:] + parts[2] + LEGACY_TENSOR + b".",
        "machine": parts[0] + parts[1] + code + b"." + LEGACY_TENSOR + b".",
        "keys": LEGACY_HEAD + LEGACY_TENSOR + b"." + code + b".",
        "protocol 0": b"(" + code + b"t.",
    }[file]
    error = problem(data, tmp_path / "w.pth")
    assert not canary.exists()
    assert isinstance(error, ForbiddenError)
    assert not set(error.names) <= KNOWN
    assert "nothing was executed" in error.why
    assert error.next_step == "Do not load it with other tools; get the weights from a source you trust"


def test_every_name_is_listed_in_order_even_after_the_first_bad_one(tmp_path: Path) -> None:
    code = (
        b"}"
        + text("good")
        + TENSOR
        + b"s"
        + text("bad")
        + reduce("os.system", text("true"))
        + b"b"
        + reduce("subprocess.Popen", b"(" + text("x") + b"l")
        + b"}]"
        + text("v")
        + b"sK\x01K\x02a"
        + reduce("my.module.Thing", TENSOR)
        + reduce("os.system", text("again"))
        + b"(t."
    )
    error = problem(torch_zip(code), tmp_path / "w")
    assert isinstance(error, ForbiddenError)
    assert error.names == ("os.system", "subprocess.Popen", "my.module.Thing")
    assert "os.system, subprocess.Popen" in error.why
    assert "nothing was executed" in error.why


def test_a_damaged_pickle_still_tells_what_it_asked_for(tmp_path: Path) -> None:
    error = problem(torch_zip(reduce("os.system", text("true")) + b"\xff"), tmp_path / "w")
    assert isinstance(error, ForbiddenError)
    assert error.names == ("os.system",)


def test_names_are_harmless_on_a_terminal(tmp_path: Path) -> None:
    error = problem(torch_zip(text("os\x1b[31m") + text("sys\ntem\u202e") + b"\x93."), tmp_path / "w")
    assert isinstance(error, ForbiddenError)
    assert error.names == ("os\\x1b[31m.sys\\ntem\\u202e",)
    assert "\x1b" not in str(error)


# Names that published attacks call, and scanners of pickles list; each as a plain pickle of protocol 0, which nothing
# but that name marks as one.
ATTACKS = (
    "pipes.Template crypt.crypt telnetlib.Telnet "
    "os.system posix.system nt.system subprocess.Popen subprocess.check_output builtins.eval builtins.exec "
    "__builtin__.eval builtins.getattr builtins.__import__ builtins.compile builtins.open commands.getoutput "
    "importlib.import_module runpy.run_path runpy._run_code pty.spawn socket.create_connection shutil.rmtree "
    "webbrowser.open code.InteractiveInterpreter timeit.timeit pdb.run bdb.Bdb cProfile.run profile.run trace.Trace "
    "asyncio.run ctypes.CDLL pickle.loads _pickle.loads marshal.loads operator.attrgetter _operator.methodcaller "
    "types.CodeType types.FunctionType io.open io.FileIO logging.config.listen platform.popen pydoc.pipepager "
    "logging.FileHandler logging.basicConfig argparse.FileType "
    "typing._eval_type dataclasses._create_fn numexpr.evaluate torchvision.datasets.utils.download_url "
    "transformers.utils.hub.cached_file tensorflow.python.framework.load_library.load_op_library "
    "numpy.testing._private.utils.runstring numpy.testing.runstring numpy.f2py.crackfortran.getlincoef numpy.load "
    "numpy.f2py.crackfortran.param_eval numpy.f2py.capi_maps.load_f2cmap_file torch.hub.load torch.load torch.jit.load "
    "torch.hub.load_state_dict_from_url torch.serialization.load torch.utils.collect_env.run torch.ops.load_library "
    "torch.utils.bottleneck.__main__.run_cprofile torch.jit.unsupported_tensor_ops.execWrapper "
    "torch.utils._config_module.ConfigModule.load_config torch.fx.experimental.symbolic_shapes.ShapeEnv "
    "torch._dynamo.guards.GuardBuilder.get torch._inductor.codecache.compile_file "
    "torch.utils.cpp_extension.load_inline torch.fx.graph_module.reduce_graph_module "
    "torch.storage._load_from_bytes torch.classes.load_library "
    "pandas.read_pickle pandas.io.common.get_handle joblib.load dill.loads cloudpickle.loads yaml.unsafe_load "
    "requests.get aiohttp.request urllib.request.urlopen pip._internal.main setuptools.setup uuid._popen "
    "lib2to3.pgen2.grammar.Grammar.loadgrammar distutils.file_util.write_file venv.create zipimport.zipimporter "
    "test.support.script_helper.assert_python_ok doctest.debug_script ensurepip._run_pip transformers.pipeline.load"
).split()


@pytest.mark.parametrize("name", ATTACKS)
def test_what_attacks_call_is_named_also_in_a_plain_pickle(name: str, tmp_path: Path) -> None:
    module, _, attribute = name.rpartition(".")

    error = problem(f"c{module}\n{attribute}\n(Vtrue\ntR.".encode(), tmp_path / "w.pth")

    assert isinstance(error, ForbiddenError)
    assert error.names == (name.replace("__builtin__", "builtins"),)
    assert "other tools" in error.next_step


@pytest.mark.parametrize(
    "members",
    [
        [("code/model.py", b"")],
        [("constants.pkl", b"\x80\x02).")],
        [("byteorder", b"middle")],
        [("../other/data.pkl", b"\x80\x02).")],
    ],
    ids=["as a program", "as a program of constants", "in an odd byte order", "with a pickle beside it"],
)
def test_no_other_reason_to_refuse_a_file_hides_an_attack(members: list[tuple[str, bytes]], tmp_path: Path) -> None:
    error = problem(torch_zip(CALL.replace(b"COMMAND", text("true")) + b".", *members), tmp_path / "w.pth")

    assert isinstance(error, ForbiddenError)
    assert error.names == ("os.system",)


def test_nor_does_a_pickle_that_is_too_long_to_be_read(tmp_path: Path) -> None:
    padding = b"".join(b"B\0\0\x80\0" + bytes(8 << 20) + b"0" for _ in range(5))
    code = CALL.replace(b"COMMAND", text("true")) + padding + b"."

    assert isinstance(problem(torch_zip(code), tmp_path / "w.pth"), ForbiddenError)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch.serialization", "os.system"),
        ("torch.nn.modules.module", "torch.hub.load"),
        ("torch.nn", "Module.__init__.__globals__"),
        ("argparse", "_sys.modules"),
        ("pathlib", "os.system"),
        ("collections", "_sys"),
        ("models.vgg", "VGG.__reduce__"),
        ("models.vgg", "V" * 300),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(module: str, name: str, tmp_path: Path) -> None:
    error = problem(torch_zip(TENSOR + text(module) + text(name) + b"\x93)R\x86."), tmp_path / "w")

    assert isinstance(error, ForbiddenError)


HARMLESS = (
    "argparse.Namespace pathlib.PosixPath pathlib._local.PosixPath datetime.datetime enum.Enum uuid.UUID "
    "functools.partial collections.deque logging.getLogger random.Random types.SimpleNamespace builtins.slice "
    "builtins.object torch.optim.adam.Adam torch.optim.lr_scheduler.StepLR torch.nn.modules.linear.Linear "
    "torch.nn.parallel.data_parallel.DataParallel torch._dynamo.eval_frame.OptimizedModule "
    "torch.torch_version.TorchVersion torchvision.models.vgg.VGG "
    "torchvision.transforms.functional.InterpolationMode fastai.learner.Learner "
    "pytorch_lightning.utilities.parsing.AttributeDict omegaconf.dictconfig.DictConfig deepspeed.runtime.engine.Engine "
    "ignite.engine.engine.State easydict.EasyDict models.vgg.VGG __main__.Net test.Net "
    "numpy.random._pickle.__randomstate_ctor"
).split()


def test_a_path_is_data_and_what_it_does_to_a_disk_is_an_attack(tmp_path: Path) -> None:
    write = b"\x80\x04\x8c\x07pathlib\x8c\x0fPath.write_text\x93\x8c\x01a\x8c\x01b\x86R."

    assert isinstance(problem(write, tmp_path / "w.pth"), ForbiddenError)
    assert not is_hostile("pathlib", "PosixPath")
    assert is_hostile("pathlib._local", "PosixPath.unlink")


@pytest.mark.parametrize("name", HARMLESS)
def test_what_training_programs_keep_is_not_mistaken_for_an_attack(name: str, tmp_path: Path) -> None:
    module, _, attribute = name.rpartition(".")
    path = tmp_path / "w"
    path.write_bytes(torch_zip(TENSOR + f"c{module}\n{attribute}\n".encode() + b")R\x86."))

    with open_checkpoint(path) as checkpoint:
        _, kept = checkpoint.root  # type: ignore[misc]

    assert isinstance(kept, Inert)
    assert (kept.name, kept.class_name) == (name, attribute)


class Subclass(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda: torch.eye(3).to_sparse(), "sparse", id="sparse"),
        pytest.param(lambda: torch.eye(3).to_sparse_csr(), "sparse", id="sparse csr"),
        pytest.param(lambda: torch.zeros(2, device="meta"), "meta", id="meta"),
        pytest.param(lambda: torch.ones(2, dtype=torch.complex64).conj(), "conjugation", id="conjugated"),
        pytest.param(lambda: torch.ones(2, dtype=torch.complex64).conj().imag, "negation", id="negated"),
        pytest.param(lambda: torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]), "nested", id="nested"),
        pytest.param(
            lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "quantised", id="quantised"
        ),
        pytest.param(lambda: torch.ones(2).as_subclass(Subclass), "Subclass", id="subclass"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_no_plain_numbers_are_named(
    make: Callable[[], torch.Tensor], words: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(save({"w": make(), "x": torch.ones(1)}, tmp_path / "w", "zip"))
    assert words in caught.value.why


BOMBS: dict[str, bytes] = {
    "a text of 2^60 bytes": b"\x8d" + struct.pack("<Q", 1 << 60) + b"abc",
    "bytes of 2^64 - 1 bytes": b"\x8e" + b"\xff" * 8 + b"abc",
    "a bytearray of 2^40 bytes": b"\x96" + struct.pack("<Q", 1 << 40) + b"abc",
    "a whole number of 2 GB": b"\x8b\xff\xff\xff\x7f" + b"\1" * 100,
    "a number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
    "a line without an end": b"V" + b"x" * 3_000_000,
    "a memo index of 2^32 - 1": b"Nr\xff\xff\xff\xff.",
    "a memo index of a thousand digits": b"Np" + b"9" * 1000 + b"\n.",
    "a billion laughs in lists": b"N" + b"q\x01](h\x01h\x01h\x01h\x01e" * 90 + b".",
    "a billion laughs in tuples": b"N" + b"22\x87" * 90 + b".",
    "a billion laughs in dicts": b"N" + b"q\x01}(K\x01h\x01K\x02h\x01u" * 90 + b".",
    "tuples nested 200,000 deep": b"N" + b"\x85" * 200_000 + b".",
    "lists nested 100,000 deep": b"]" * 100_000 + b"a" * 99_999 + b".",
    "dicts nested 50,000 deep": b"}K\x01" * 50_000 + b"N" + b"s" * 50_000 + b".",
    "deep chains of shared tuples": b"N" + (b"\x85" * 90 + b"q\x01") * 50 + b".",
    "a deep tuple at the end of a deep tuple": b"(N" + b"\x85" * 60 + b"q\x01h\x01" + b"\x85" * 60 + b"t.",
    "a list that contains itself": b"]q\x01h\x01a.",
    "a dict that contains itself": b"}q\x01K\x01h\x01s.",
    "a tuple in a list that contains it": b"]q\x01h\x01\x85a.",
    "a million steps": b"]0" * 500_000,
    "a million sets": b"\x8f" * 1_000_000,
    "dicts without end": b"}" * 390_000 + b".",
    "marks upon marks": b"(" * 1_000_000,
    "a million values in a tuple": b"(" + b"N" * 1_000_000 + b"t.",
    "numbers as keys": b"}(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(20_000)) + b"u.",
    "numbers in a set": b"\x8f(" + b"".join(b"J" + struct.pack("<i", i) for i in range(20_000)) + b"\x90.",
    "keys with equal hashes": b"}("
    + b"".join(b"\x8a\x0c" + (i * ((1 << 61) - 1)).to_bytes(12, "little") + b"N" for i in range(1, 40_000))
    + b"u.",
    "one long list copied again and again": b"cbuiltins\nlist\nq\x01("
    + b"N" * 200_000
    + b"lq\x02"
    + b"0h\x01h\x02\x85R" * 100_000
    + b".",
    "one long text encoded again and again": b"c_codecs\nencode\nq\x01X\0\0\x80\0"
    + b"x" * (8 << 20)
    + b"q\x02X\x06\0\0\0latin1q\x03"
    + b"0h\x01h\x02h\x03\x86R" * 100_000
    + b".",
    "one long tuple of arguments": b"ctorch._utils\n_rebuild_tensor_v2\nq\x01("
    + b"N" * 200_000
    + b"tq\x02"
    + b"0h\x01h\x02R" * 100_000
    + b".",
    "a hundred thousand names": b"".join(b"cm\nn%d\n0" % i for i in range(100_000)) + b"N.",
    "one long name again and again": b"X\0\0\x80\0" + b"x" * (8 << 20) + b"q\x01" + b"0h\x01h\x01\x93" * 100_000 + b".",
    "long names": b"".join(b"c" + b"%07d" % i * 2000 + b"\nx\n0" for i in range(500)) + b"N.",
    "text that grows fourfold": b"X\0\0\0\x01" + b"x" * ((1 << 24) - 4) + "🔥".encode() + b".",
    "a pickle of 40 MB": b"".join(b"B\0\0\x80\0" + bytes(8 << 20) + b"0" for _ in range(5)) + b"N.",
    "a storage name of thousands of digits": ID.replace(text("0"), b"\x8b\0\x04\0\0" + b"\x7f" * 1024) + b".",
    "inert objects without end": b"cmodels.vgg\nVGG\nq\x010" + b"h\x01)R" * 160_000 + b".",
    "inert objects nested 90,000 deep": b"cm\nV\nq\x01" + b"h\x01" * 90_000 + b"N" + b"\x85R" * 90_000 + b".",
    "states nested 50,000 deep": b"cm\nV\nq\x010" + b"h\x01)R}K\x01" * 50_000 + b"N" + b"sb" * 50_000 + b".",
    "a billion laughs in states": b"cm\nV\nq\x010N" + b"q\x02h\x01)R(h\x02h\x02h\x02h\x02tb" * 90 + b".",
    "a billion laughs in arguments": b"cm\nV\nq\x010N" + b"q\x020h\x01(h\x02h\x02h\x02h\x02tR" * 90 + b".",
    "a billion laughs in items and entries": b"cm\nV\nq\x010N"
    + b"q\x020h\x01)R(h\x02h\x02e(K\x01h\x02K\x02h\x02u" * 90
    + b".",
    "keywords copied again and again": b"cm\nV\nq\x01}("
    + b"".join(text(f"k{i}") + b"N" for i in range(50_000))
    + b"uq\x02"
    + b"0h\x01)h\x02\x92" * 80_000
    + b".",
    "items of objects without end": b"cm\nV\n)R(" + b"N" * 450_000 + b"e.",
    "one array as a list again and again": b"cnumpy\ndtype\n(U\x02S1tR(K\x03U\x01|NNNNNK\0tbq\x01"
    + b"0B\0\0\x01\0"
    + bytes(65_536)
    + b"q\x020cnumpy.core.multiarray\n_reconstruct\nq\x030("
    + b"h\x03)R(K\x01J\0\0\x01\0\x85h\x01\x89h\x02tb" * 25_000
    + b"t.",
    "short tuples as keys": b"}(" + b"".join(b"J" + struct.pack("<i", i) + b"\x85N" for i in range(20_000)) + b"u.",
    "one tuple of tuples as keys": b"}(" + b"K\x01" * 100_000 + b"tNs.",
    "a shape of 100,000 sizes": b"ctorch._utils\n_rebuild_tensor\n("
    + ID
    + b"K\0("
    + b"K\x01" * 100_000
    + b"tq\x05h\x05tR.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end_in_an_error(name: str, tmp_path: Path) -> None:
    with bounded(memory=1 << 30):
        problem(torch_zip(BOMBS[name]), tmp_path / "w")


def rebuilt(offset: object = 0, shape: object = (2, 3), stride: object = (3, 1)) -> bytes:
    """A zip file with one tensor of any numbers, over a storage of six float32."""
    arguments = b"".join(pickle.dumps(value, 2)[2:-1] for value in (offset, shape, stride))
    return torch_zip(b"ctorch._utils\n_rebuild_tensor\n(" + ID + arguments + b"tR.")


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"offset": 1}, "beyond its storage"),
        ({"offset": -1}, "negative"),
        ({"offset": 1 << 70}, "too large"),
        ({"offset": True}, "other than whole numbers"),
        ({"offset": 0.0}, "other than whole numbers"),
        ({"offset": None}, "other than whole numbers"),
        ({"shape": (2, 4)}, "beyond its storage"),
        ({"shape": (-2, 3)}, "negative"),
        ({"shape": (-2, -3)}, "negative"),
        ({"shape": (1 << 62, 1 << 62)}, "too large"),
        ({"shape": (0, 1 << 62)}, "too large"),
        ({"shape": (1 << 62, 0)}, "too large"),
        ({"shape": (1 << 70, 3)}, "too large"),
        ({"shape": (2, 3.0)}, "other than whole numbers"),
        ({"shape": 6}, "not a list"),
        ({"shape": (6,)}, "1 sizes and 2 strides"),
        ({"shape": (1,) * 100, "stride": (1,) * 100}, "100 dimensions"),
        ({"stride": (-3, 1)}, "negative"),
        ({"stride": (4, 1)}, "beyond its storage"),
        ({"stride": (1 << 62, 1)}, "too large"),
        ({"shape": (1, 3), "stride": (1 << 62, 1)}, "too large"),
        ({"stride": (3, None)}, "other than whole numbers"),
        ({"shape": (1 << 40,), "stride": (0,)}, "repeats"),
        ({"shape": (1 << 20, 1 << 20), "stride": (0, 0)}, "repeats"),
    ],
)
def test_a_tensor_with_impossible_numbers(numbers: dict[str, Any], words: str, tmp_path: Path) -> None:
    with bounded():
        assert words in problem(rebuilt(**numbers), tmp_path / "w").why


def test_the_numbers_of_that_test_are_read_when_possible(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(rebuilt(offset=1, shape=(1, 2, 0, 5), stride=(1 << 40, 7, 1, 1)))
    open_checkpoint(path).close()
    path.write_bytes(rebuilt(offset=5, shape=(1, 1000), stride=(1 << 40, 0)))
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.root.numpy().sum() == 5000  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "saved_id",
    [
        pytest.param(ID.replace(b"storage", b"storagf"), id="not a storage"),
        pytest.param(ID.replace(b"FloatStorage", b"float32"), id="a dtype for a class"),
        pytest.param(ID.replace(b"K\x06tQ", b"NtQ"), id="no length"),
        pytest.param(ID.replace(b"K\x06tQ", b"J\xff\xff\xff\xfftQ"), id="a negative length"),
        pytest.param(ID.replace(b"K\x06tQ", b"G\x40\x18\0\0\0\0\0\0tQ"), id="a length that is no whole number"),
        pytest.param(ID.replace(b"K\x06tQ", b"tQ"), id="too short"),
        pytest.param(ID.replace(b"K\x06tQ", b"K\x06NNtQ"), id="too long"),
        pytest.param(ID.replace(text("0"), b"]"), id="a list for a name"),
        pytest.param(ID.replace(text("0"), b"J\xff\xff\xff\xff"), id="a negative name"),
        pytest.param(b"]Q", id="a list"),
    ],
)
def test_a_storage_that_is_not_described_properly(saved_id: bytes, tmp_path: Path) -> None:
    assert not isinstance(problem(torch_zip(TENSOR.replace(ID, saved_id) + b"."), tmp_path / "w"), ForbiddenError)


UNPICKLING = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "joblib", "dill", "cloudpickle", "runpy", "imp"}
RUNNING = {"eval", "exec", "compile", "__import__"}
LOADING = re.compile(
    r"(torch(\.\w+)*|pd|pandas)\.(load|read_pickle|load_state_dict_from_url)|.*\.Unpickler|.*\.loads?_pickle"
)


def ways_to_run_data(source: str) -> list[str]:
    """Whatever in a module could turn data into running code: unpicklers, evaluation, imports by computed name."""
    found = []
    module = ast.parse(source)
    written_out = constants(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in UNPICKLING]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if name.partition(".")[0] in UNPICKLING or LOADING.fullmatch(name)]
        elif isinstance(node, ast.Name):
            found += [node.id] * (node.id in RUNNING)
        elif isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            found += [name] * bool(LOADING.fullmatch(name) or name.removeprefix("builtins.") in RUNNING)
        elif isinstance(node, ast.Call):
            named = node.args and (isinstance(node.args[0], ast.Constant) or ast.unparse(node.args[0]) in written_out)
            found += ["import_module"] * (ast.unparse(node.func).endswith("import_module") and not named)
            found += [
                word.arg or "" for word in node.keywords if word.arg == "allow_pickle" and not is_false(word.value)
            ]
            found += ["weights_only"] * any(word.arg == "weights_only" for word in node.keywords)
    return found


def constants(module: ast.Module) -> set[str]:
    """The names that a module sets once, at its top level, to a literal."""
    stored = Counter(
        node.id for node in ast.walk(module) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    )
    stored.update(node.arg for node in ast.walk(module) if isinstance(node, ast.arg))
    goals: list[ast.expr] = []
    for node in module.body:
        if isinstance(node, ast.Assign):
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            if all(isinstance(value, ast.Constant) for value in values):
                goals += [name for goal in node.targets for name in getattr(goal, "elts", [goal])]
    return {goal.id for goal in goals if isinstance(goal, ast.Name) and stored[goal.id] == 1}


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, _pickle as quick",
        "def f():\n    from pickle import loads",
        "from joblib import load",
        "import marshal",
        "import torch\ntorch.load(path)",
        "import torch\nread = torch.load",
        "import torch\ntorch.jit.load(path)",
        "import torch\ntorch.hub.load_state_dict_from_url(url)",
        "from torch import load",
        "from torch.jit import load",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import numpy as np\nnp.load(path, allow_pickle=trust)",
        "something.Unpickler(file)",
        "eval(text)",
        "run = exec",
        "import builtins\nbuiltins.eval(text)",
        "__import__(name)",
        "import importlib\nimportlib.import_module(name)",
        "import importlib\nNAME = 'openvino'\nNAME = input()\nimportlib.import_module(NAME)",
        "import importlib\nNAME = 'openvino'\ndef f(NAME):\n    importlib.import_module(NAME)",
        "import importlib\ndef f():\n    name = 'openvino'\n    importlib.import_module(name)",
    ],
)
def test_what_could_run_data_is_recognised(source: str) -> None:
    assert ways_to_run_data(source)


@pytest.mark.parametrize(
    "source",
    [
        "from vggcli.weights.checkpoint.pickle.machine import Machine",
        "import re\nre.compile('a')",
        "import importlib\nimportlib.import_module('openvino')",
        "import importlib\nNAME = 'openvino'\nimportlib.import_module(NAME)",
        "import numpy as np\nnp.load(path, allow_pickle=False)",
        "import json\njson.loads(text)",
        "picture.load()",
    ],
)
def test_what_runs_nothing_is_not_mistaken_for_it(source: str) -> None:
    assert ways_to_run_data(source) == []


def test_no_module_of_the_package_can_unpickle_or_run_data() -> None:
    package = Path(vggcli.__file__).parent
    paths = sorted(package.rglob("*.py"))
    assert len(paths) > 80
    found = {str(path.relative_to(package)): ways_to_run_data(path.read_text("utf-8")) for path in paths}
    # The public face imports what its own table names, and that alone; the next test holds it to that.
    imports_by_name = {"__init__.py": ["import_module"], "cli/group.py": ["import_module"]}  # of a table in the module
    assert {path: ways for path, ways in found.items() if ways} == imports_by_name


@pytest.mark.parametrize("name", ["os", "subprocess", "vggcli.errors", "__path__.os", ""])
def test_the_public_face_imports_nothing_that_its_table_does_not_name(name: str) -> None:
    before = set(sys.modules)
    with pytest.raises(AttributeError):
        vggcli.__getattr__(name)
    assert set(sys.modules) <= before
    # Nothing in the package but its own modules is a home, whatever the name.
    assert all(home.startswith("vggcli.") for home in vggcli._HOMES)


# Few bytes that stand for many


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_tensors_that_repeat_their_numbers_are_bounded_together(form: str, tmp_path: Path) -> None:
    few = {f"t{n}": torch.zeros(()).expand(1 << 26) for n in range(4)}
    with open_checkpoint(save(few, tmp_path / "few.pth", form)) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        assert len(checkpoint.root) == 4
    more = few | {f"u{n}": torch.zeros(()).expand(1 << 26) for n in range(300)}
    data = save(more, tmp_path / "more.pth", form).read_bytes()
    assert "repeat" in str(problem(data, tmp_path / "w"))


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_views_of_one_storage_are_bounded_together(form: str, tmp_path: Path) -> None:
    base = torch.zeros(1 << 16)
    views = {f"t{n}": base[n % 7 :] for n in range(10_000)}
    data = save(views, tmp_path / "w.pth", form).read_bytes()
    assert "repeat" in str(problem(data, tmp_path / "w"))


def test_one_tensor_under_many_keys_is_one_tensor(tmp_path: Path) -> None:
    one = torch.zeros(()).expand(1 << 26)
    with open_checkpoint(save({f"t{n}": one for n in range(1000)}, tmp_path / "w.pth", "zip")) as checkpoint:
        assert isinstance(checkpoint.root, dict)
        assert len(set(checkpoint.root.values())) == 1


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_a_key_longer_than_any_is_refused_and_shown_cut(form: str, tmp_path: Path) -> None:
    data = save({"k" * 100_000: torch.zeros(2)}, tmp_path / "w.pth", form).read_bytes()
    message = str(problem(data, tmp_path / "w"))
    assert "a key of 100,000 characters: 'kkk" in message
    assert len(message) < 500 + len(str(tmp_path))


def test_a_name_in_a_message_commands_no_terminal(tmp_path: Path) -> None:
    name = "a\x1b[31m\u202egnp"
    error = problem(torch_zip(b"}(" + 2 * (text(name) + b"N") + b"u."), tmp_path / "w")
    assert "\x1b" not in str(error)
    assert "\u202e" not in str(error)
    assert r"'a\x1b[31m\u202egnp' twice" in str(error)
