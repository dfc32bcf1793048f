"""The names that mean something here, each with what stands in for calling it.

Nothing here is imported or called. The list follows torch's own for `weights_only=True`, less what would need its
objects, plus NumPy's numbers, texts and arrays, which are read as data, and the helpers of pickle itself. What is
called by any other name becomes an `Inert` object, or is refused when only attacks need it (`hostile`).
"""

from __future__ import annotations

from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.pickle import arrays, numpy_values, rebuild
from vggcli.weights.checkpoint.pickle.rebuild import Arguments, Call, never, opaque, pending_tensor, refused
from vggcli.weights.checkpoint.pickle.values import Global
from vggcli.weights.checkpoint.problems import Unsupported
from vggcli.weights.checkpoint.problems import damaged_pickle as damaged
from vggcli.weights.checkpoint.tensor import DTYPES

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
PARAMETER = "torch.nn.parameter.Parameter"
TENSOR_CLASSES = ("", *"Double Float Half BFloat16 Long Int Short Char Byte Bool".split())
DEVICE_TENSOR = refused("a tensor of a device without storages")
SPARSE_TENSOR = refused("a sparse tensor")

# names that are passed to functions, never called
MENTIONED = [
    *(f"torch.{name}" for name in DTYPES),
    *(f"torch.{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)),
    *(f"torch.{name}" for name in "bits8 bits16 bits1x8 bits2x4 bits4x2 bcomplex32 float4_e2m1fn_x2".split()),
    *(f"torch.{name}" for name in "quint8 qint8 qint32 quint4x2 quint2x4".split()),
    *(f"torch.per_{each}" for each in "tensor_affine tensor_symmetric channel_affine channel_symmetric".split()),
    "torch.per_channel_affine_float_qparams",
    *(f"torch.{name}" for name in "strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc".split()),
    *(f"builtins.{name}" for name in "int float str bool".split()),
    *(f"{place}.{name}" for place in ("torch", "torch.cuda") for name in (*STORAGE_DTYPES, *QUANTISED_STORAGES)),
    "torch.storage.UntypedStorage",
    "torch.storage._UntypedStorage",
]
NUMPY_CORES = ("numpy.core", "numpy._core")


def _tensor_of_class(arguments: Arguments) -> object:
    """Stand for _rebuild_from_type(function, class, arguments, state): a tensor with attributes or its own class."""
    match arguments:
        case (Global(function), Global(kind), tuple() as inner, _):
            pass
        case _:
            raise damaged("a tensor without a class")
    if kind not in ("torch.Tensor", "torch._tensor.Tensor", PARAMETER):
        raise Unsupported(f"a tensor subclass ({kind})")
    if not function.startswith("torch._utils._rebuild_"):
        raise damaged("a tensor without its rebuild function")
    return call(function, inner)


CALLS: dict[str, Call] = {
    "torch._utils._rebuild_tensor": rebuild.tensor,
    "torch._utils._rebuild_tensor_v2": rebuild.tensor_v2,
    "torch._utils._rebuild_tensor_v3": rebuild.tensor_v3,
    "torch._utils._rebuild_parameter": rebuild.parameter,
    "torch._utils._rebuild_parameter_with_state": rebuild.parameter,
    "torch._tensor._rebuild_from_type": _tensor_of_class,
    "torch._tensor._rebuild_from_type_v2": _tensor_of_class,
    "torch.tensor._rebuild_from_type": _tensor_of_class,
    PARAMETER: pending_tensor(PARAMETER),
    "torch._tensor.Tensor": pending_tensor("torch.Tensor"),
    **{
        f"{place}.{name}Tensor": pending_tensor(f"{place}.{name}Tensor")
        for place in ("torch", "torch.cuda")
        for name in TENSOR_CLASSES
    },
    "torch.Size": lambda arguments: tuple(rebuild.items(arguments)),
    "torch.device": opaque("torch.device"),
    "torch.serialization._get_layout": opaque("torch.layout"),
    "collections.OrderedDict": rebuild.dictionary,
    "collections.Counter": rebuild.dictionary,
    "collections.defaultdict": lambda arguments: rebuild.dictionary(arguments[1:]),
    "builtins.dict": rebuild.dictionary,
    "builtins.list": lambda arguments: list(rebuild.items(arguments)),
    "builtins.tuple": lambda arguments: tuple(rebuild.items(arguments)),
    "builtins.set": rebuild.set_of,
    "builtins.frozenset": lambda arguments: frozenset(rebuild.set_of(arguments)),
    "builtins.complex": rebuild.complex_number,
    "builtins.bytearray": rebuild.to_bytes,
    "builtins.bytes": rebuild.to_bytes,
    "_codecs.encode": rebuild.to_bytes,
    "torch._utils._rebuild_qtensor": refused("a quantised tensor"),
    "torch._utils._rebuild_sparse_tensor": SPARSE_TENSOR,
    "torch._utils._rebuild_sparse_csr_tensor": SPARSE_TENSOR,
    "torch._utils._rebuild_nested_tensor": refused("a nested tensor"),
    "torch._utils._rebuild_meta_tensor_no_storage": refused("a meta tensor (a shape without numbers)"),
    "torch._utils._rebuild_wrapper_subclass": refused("a tensor subclass"),
    "torch._utils._rebuild_device_tensor_from_numpy": DEVICE_TENSOR,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": DEVICE_TENSOR,
    "torch._utils._rebuild_xla_tensor": DEVICE_TENSOR,
    **dict.fromkeys(MENTIONED, never),
    "copyreg._reconstructor": rebuild.reconstructed,
    "copyreg.__newobj__": rebuild.new_object,
    "copyreg.__newobj_ex__": rebuild.new_object_with_keywords,
    "numpy.dtype": arrays.array_type,
    "numpy.ndarray": opaque("numpy.ndarray"),
    **{f"{core}.multiarray.scalar": numpy_values.scalar for core in NUMPY_CORES},
    **{f"{core}.multiarray._reconstruct": arrays.reconstruct for core in NUMPY_CORES},
    **{f"{core}.numeric._frombuffer": arrays.from_buffer for core in NUMPY_CORES},
}


def call(name: str, arguments: Arguments) -> object:
    """Return what calling a known name stands for.

    Raises:
        Unsupported: a kind of tensor that is not plain numbers.
        Unreadable: arguments that torch.save never writes.
    """
    if len(arguments) > limits.ARGUMENTS:
        raise damaged(f"a call with {len(arguments):,} arguments")
    return CALLS[name](arguments)
