"""The names that a checkpoint may look up, and what stands in for calling them.

Nothing is imported or called: a tensor's rebuild function becomes a check of its arguments and a `Tensor`, containers
become plain ones, NumPy's scalars and arrays become `Opaque`. Every name outside `CALLS` is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vggcli.checkpoint import limits
from vggcli.checkpoint.problems import Unreadable, Unsupported
from vggcli.checkpoint.tensor import DTYPES, Storage, Tensor, make_tensor
from vggcli.checkpoint.values import Global, Opaque, Unbuilt

Arguments = tuple[object, ...]
Call = Callable[[Arguments], object]

STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "UntypedStorage": "uint8",
    "_UntypedStorage": "uint8",
}
QUANTISED_STORAGES = ("QInt8Storage", "QInt32Storage", "QUInt8Storage", "QUInt4x2Storage", "QUInt2x4Storage")
TENSOR_CLASSES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
PYTHON2_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}


def dotted_name(module: str, name: str) -> str:
    """Return "module.name" with Python 3's module name, harmless to print."""
    text = f"{PYTHON2_MODULES.get(module, module)}.{name}"[: limits.NAME_CHARACTERS]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_known(dotted: str) -> bool:
    """Return whether the name may be looked up."""
    return dotted in CALLS


def call(dotted: str, arguments: Arguments) -> object:
    """Return what the call stands for.

    Raises:
        Unsupported: a kind of tensor that is not plain numbers.
        Unreadable: arguments that torch.save never writes.
    """
    return CALLS[dotted](arguments) if dotted in CALLS else Opaque(dotted)


def build(target: object, state: object) -> None:
    """Apply BUILD: fill a tensor of old PyTorch; attributes set on containers and tensors are left out.

    Raises:
        Unreadable: the state does not fit the target.
    """
    if isinstance(target, Unbuilt) and isinstance(state, tuple) and len(state) in (3, 4, 5):
        if len(state) == 4:  # a tensor: storage, offset, shape, stride
            target.value = _tensor(state)
        elif len(state) == 5:  # a Variable: data first, then flags
            target.value = _plain_tensor(state[0])
    elif not isinstance(target, (dict, Opaque, Tensor, Unbuilt)) or not isinstance(state, (dict, tuple, type(None))):
        raise _odd("state for something that takes none")


def key(value: object) -> object:
    """Return the value if it may be a key: text, bytes, a number, a bool or None.

    Tuples and long integers are refused, because a file could choose thousands of them with equal hashes.
    """
    if isinstance(value, (str, bytes)) or value is None:
        return value
    if isinstance(value, int) and abs(value) < 1 << 60:
        return value
    if isinstance(value, float) and value == value:
        return value
    raise _odd(f"a {type(value).__name__} as a key")


def set_item(target: dict[object, object], name: object, value: object) -> None:
    """Set a key that is not there yet.

    Raises:
        Unreadable: it is.
    """
    if name in target:
        raise Unreadable(f"it holds the key {str(name)[:200]!r} twice")
    target[name] = value


def _odd(why: str) -> Unreadable:
    return Unreadable(f"its pickle is damaged: {why}")


def _tensor(arguments: Arguments, dtype: str = "") -> Tensor:
    """Storage, offset, shape, stride -> tensor."""
    match arguments:
        case (Storage() as storage, offset, shape, stride, *_):
            return make_tensor(storage, dtype or storage.dtype, offset, shape, stride)
    raise _odd("a tensor without a storage")


def _tensor_v2(arguments: Arguments) -> Tensor:
    """As `_tensor`, then requires_grad, hooks and, for lazily negated or conjugated tensors, flags."""
    if len(arguments) > 6:
        _check_flags(arguments[6])
    return _tensor(arguments)


def _tensor_v3(arguments: Arguments) -> Tensor:
    """As `_tensor`, then requires_grad, hooks, dtype and flags; its storage has no dtype of its own."""
    if len(arguments) < 7 or not isinstance(arguments[6], Global):
        raise _odd("a tensor without a dtype")
    if len(arguments) > 7:
        _check_flags(arguments[7])
    return _tensor(arguments, arguments[6].name.removeprefix("torch."))


def _check_flags(flags: object) -> None:
    if isinstance(flags, dict) and any(flags.values()):
        raise Unsupported(
            f"a tensor with a pending {' and '.join(sorted(str(k)[:20] for k in flags))} operation",
            "Call resolve_conj().resolve_neg() on the tensors before saving them",
        )


def _plain_tensor(value: object) -> Tensor:
    if isinstance(value, Unbuilt):
        value = value.value
    if not isinstance(value, Tensor):
        raise _odd("a parameter without a tensor")
    return value


def _parameter(arguments: Arguments) -> Tensor:
    return _plain_tensor(arguments[0] if arguments else None)


def _from_type(arguments: Arguments) -> object:
    """Function, class, arguments, state: a tensor with attributes, or of a class of its own."""
    if len(arguments) != 4 or not isinstance(arguments[0], Global) or not isinstance(arguments[1], Global):
        raise _odd("a tensor without a class")
    function, kind, inner = arguments[0].name, arguments[1].name, arguments[2]
    if kind not in ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter"):
        raise Unsupported(f"a tensor subclass ({kind})")
    if not function.startswith("torch._utils._rebuild_") or not isinstance(inner, tuple):
        raise _odd("a tensor without its rebuild function")
    return call(function, inner)


def _unbuilt(name: str) -> Call:
    def make(arguments: Arguments) -> Unbuilt:
        made = Unbuilt(name)
        if len(arguments) == 4:
            made.value = _tensor(arguments)
        elif arguments and isinstance(arguments[0], (Tensor, Unbuilt)):
            made.value = _plain_tensor(arguments[0])
        elif arguments:
            raise _odd("a tensor made of something else")
        return made

    return make


def _items(arguments: Arguments) -> Iterable[object]:
    """Return the items of the one container that a constructor takes; nothing for none."""
    if not arguments:
        return ()
    if len(arguments) > 1 or not isinstance(arguments[0], (list, tuple, set, frozenset, dict)):
        raise _odd("a container made of something else")
    return arguments[0]


def _dict(arguments: Arguments) -> dict[object, object]:
    made: dict[object, object] = {}
    items = _items(arguments)
    pairs: Iterable[object] = items.items() if isinstance(items, dict) else items
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise _odd("a dictionary made of something else than pairs")
        set_item(made, key(pair[0]), pair[1])
    return made


def _bytes(arguments: Arguments) -> bytes:
    """Python 3 writes bytes into protocol 2 as a text and its encoding."""
    if not arguments:
        return b""
    if isinstance(arguments[0], bytes):
        return arguments[0]
    if isinstance(arguments[0], str) and arguments[1:] in (("latin1",), ("latin-1",)):
        try:
            return arguments[0].encode("latin-1")
        except UnicodeEncodeError as error:
            raise _odd("bytes beyond 255") from error
    raise _odd("bytes made of something else")


def _complex(arguments: Arguments) -> complex:
    match arguments:
        case (float() as real, float() as imaginary):
            return complex(real, imaginary)
    raise _odd("a complex number made of something else")


def _opaque(name: str) -> Call:
    return lambda arguments: Opaque(name)


def _never(arguments: Arguments) -> object:
    raise _odd("it calls a name that is no function")


def _refuse(kind: str) -> Call:
    def refuse(arguments: Arguments) -> object:
        raise Unsupported(kind)

    return refuse


CALLS: dict[str, Call] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.tensor._rebuild_from_type": _from_type,
    "torch.nn.parameter.Parameter": _unbuilt("torch.nn.parameter.Parameter"),
    "torch.Size": lambda arguments: tuple(_items(arguments)),
    "torch.device": _opaque("torch.device"),
    "collections.OrderedDict": _dict,
    "collections.Counter": _dict,
    "collections.defaultdict": lambda arguments: _dict(arguments[1:]),
    "builtins.dict": _dict,
    "builtins.list": lambda arguments: list(_items(arguments)),
    "builtins.tuple": lambda arguments: tuple(_items(arguments)),
    "builtins.set": lambda arguments: {key(item) for item in _items(arguments)},
    "builtins.frozenset": lambda arguments: frozenset(key(item) for item in _items(arguments)),
    "builtins.complex": _complex,
    "builtins.bytearray": _bytes,
    "builtins.bytes": _bytes,
    "_codecs.encode": _bytes,
    # kinds of tensor that are more than numbers in memory
    "torch._utils._rebuild_qtensor": _refuse("a quantised tensor"),
    "torch._utils._rebuild_sparse_tensor": _refuse("a sparse tensor"),
    "torch._utils._rebuild_sparse_csr_tensor": _refuse("a sparse tensor"),
    "torch._utils._rebuild_nested_tensor": _refuse("a nested tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": _refuse("a meta tensor (a shape without numbers)"),
    "torch._utils._rebuild_wrapper_subclass": _refuse("a tensor subclass"),
    "torch._utils._rebuild_device_tensor_from_numpy": _refuse("a tensor of a device without storages"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _refuse("a tensor of a device without storages"),
    "torch._utils._rebuild_xla_tensor": _refuse("a tensor of a device without storages"),
    "torch.serialization._get_layout": _opaque("torch.layout"),
    **{f"torch.{name}": _never for name in DTYPES},
    **{f"torch.{name}": _never for name in ("half", "float", "double", "short", "int", "long")},
    **{f"torch.{name}": _never for name in ("quint8", "qint8", "qint32")},
    **{f"torch.{name}": _never for name in ("per_tensor_affine", "per_tensor_symmetric", "per_channel_affine")},
    **{f"torch.{name}": _never for name in ("strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr")},
    **{f"builtins.{name}": _never for name in ("int", "float", "str", "bool")},
    **{
        f"{module}.{name}": _never
        for module in ("torch", "torch.cuda", "torch.storage")
        for name in (*STORAGE_DTYPES, *QUANTISED_STORAGES)
    },
    **{
        f"{module}.{name}Tensor": _unbuilt(f"{module}.{name}Tensor")
        for module in ("torch", "torch.cuda")
        for name in ("", *TENSOR_CLASSES)
    },
    "torch._tensor.Tensor": _unbuilt("torch.Tensor"),
    **{
        name: _opaque(name)
        for name in (
            "numpy.core.multiarray.scalar",
            "numpy.core.multiarray._reconstruct",
            "numpy._core.multiarray.scalar",
            "numpy._core.multiarray._reconstruct",
            "numpy._core.numeric._frombuffer",
            "numpy.core.numeric._frombuffer",
            "numpy.dtype",
            "numpy.ndarray",
        )
    },
}
