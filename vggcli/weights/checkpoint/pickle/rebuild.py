"""What stands in for calling the functions and classes that a checkpoint may use: checks, and plain values.

A tensor's rebuild function becomes a check of its arguments and a `Tensor`, containers become plain ones. Which name
has which stand-in is written in `allowed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.pickle import arrays
from vggcli.weights.checkpoint.pickle.values import ArrayType, Global, Inert, Opaque, PendingArray, PendingTensor
from vggcli.weights.checkpoint.problems import QUOTED, Unreadable, Unsupported, quote
from vggcli.weights.checkpoint.problems import damaged_pickle as damaged
from vggcli.weights.checkpoint.tensor import Storage, Tensor, make_tensor

Arguments = tuple[object, ...]
Call = Callable[[Arguments], object]
FLAGS = ("conj", "neg")  # operations that torch leaves pending


def build(target: object, state: object) -> None:
    """Apply BUILD: keep an inert object's state, fill an array or a tensor of old PyTorch; leave out other attributes.

    Raises:
        Unreadable: the state does not fit the target.
    """
    if isinstance(target, Inert):
        target.state = state
    elif isinstance(target, PendingTensor) and isinstance(state, tuple) and len(state) in (3, 4, 5):
        if len(state) == 4:  # a tensor: storage, offset, shape, stride
            target.value = tensor(state)
        elif len(state) == 5:  # a Variable: data first, then flags
            target.value = _plain_tensor(state[0])
    elif isinstance(target, (ArrayType, PendingArray)) and isinstance(state, tuple):
        arrays.build(target, state)
    elif not isinstance(target, (dict, Opaque, Tensor, PendingTensor)) or not isinstance(
        state, (dict, tuple, Inert, type(None))
    ):
        raise damaged("state for something that takes none")


def check_key(value: object, entries: int) -> None:
    """Check what becomes a key of a dict or set that has so many entries.

    Text and objects, which are told apart by their place in memory, may be many (optimizers keep what they know by
    parameter). A file can choose numbers whose hashes collide, so that each entry takes longer than the last: of
    numbers, and of short tuples of such keys, few are allowed.

    Raises:
        Unreadable: another type, or too many.
    """
    if isinstance(value, str) and len(value) > limits.KEY_CHARACTERS:
        raise Unreadable(f"it holds a key of {len(value):,} characters: {quote(value)}")
    if isinstance(value, (str, Tensor, PendingTensor, Inert, Opaque, Global)):
        return
    for part in value if isinstance(value, tuple) and 0 < len(value) <= limits.KEY_PARTS else (value,):
        number = isinstance(part, (int, float)) and -limits.LARGEST_KEY < part < limits.LARGEST_KEY  # so no NaN either
        text = isinstance(part, (str, Inert, Opaque, Global))
        if not (number or text or part is None or isinstance(part, bytes)):
            raise damaged(f"a {type(part).__name__} as a key that no checkpoint needs")
    if entries >= limits.NUMBER_KEYS:
        raise Unreadable(f"it holds a container with more than {limits.NUMBER_KEYS:,} numbers as keys")


def set_item(target: dict[object, object], key: object, value: object) -> None:
    """Set a key that is not there yet.

    Raises:
        Unreadable: it is, or it may be no key.
    """
    check_key(key, len(target))
    if key in target:
        raise Unreadable(f"it holds the key {quote(key) if isinstance(key, str) else repr(key)[:QUOTED]} twice")
    target[key] = value


def add_item(target: set[object], item: object) -> None:
    """Add to a set what may be in one."""
    check_key(item, len(target))
    target.add(item)


def tensor(arguments: Arguments, dtype: str = "") -> Tensor:
    """Stand for _rebuild_tensor(storage, offset, shape, stride)."""
    match arguments:
        case (Storage() as storage, offset, shape, stride, *_):
            return make_tensor(storage, dtype or storage.dtype, offset, shape, stride)
    raise damaged("a tensor without a storage")


def tensor_v2(arguments: Arguments) -> Tensor:
    """Stand for _rebuild_tensor_v2: then requires_grad, hooks and, for lazily negated or conjugated tensors, flags."""
    if len(arguments) > 6:
        _check_flags(arguments[6])
    return tensor(arguments)


def tensor_v3(arguments: Arguments) -> Tensor:
    """Stand for _rebuild_tensor_v3: the storage has no dtype of its own, so it comes before the flags."""
    if len(arguments) < 7 or not isinstance(arguments[6], Global):
        raise damaged("a tensor without a dtype")
    if len(arguments) > 7:
        _check_flags(arguments[7])
    return tensor(arguments, arguments[6].name.removeprefix("torch."))


def _check_flags(flags: object) -> None:
    if isinstance(flags, dict) and any(flags.get(flag) for flag in FLAGS):
        raise Unsupported(
            "a tensor with a pending conjugation or negation",
            "Call resolve_conj().resolve_neg() on the tensors before saving them",
        )


def parameter(arguments: Arguments) -> Tensor:
    """Stand for _rebuild_parameter(tensor, requires_grad, hooks)."""
    return _plain_tensor(arguments[0] if arguments else None)


def _plain_tensor(value: object) -> Tensor:
    if isinstance(value, PendingTensor):
        value = value.value
    if not isinstance(value, Tensor):
        raise damaged("a parameter without a tensor")
    return value


def pending_tensor(name: str) -> Call:
    """Return the stand-in for a class of tensors, whose objects PyTorch before 0.4 filled afterwards."""

    def make(arguments: Arguments) -> PendingTensor:
        made = PendingTensor(name)
        if len(arguments) == 4:
            made.value = tensor(arguments)
        elif arguments:
            made.value = _plain_tensor(arguments[0])
        return made

    return make


def items(arguments: Arguments) -> Iterable[object]:
    """Return the items of the one container that a constructor takes; nothing for none."""
    if not arguments:
        return ()
    if len(arguments) > 1 or not isinstance(arguments[0], (list, tuple, set, frozenset, dict)):
        raise damaged("a container made of something else")
    return arguments[0]


def dictionary(arguments: Arguments) -> dict[object, object]:
    """Stand for OrderedDict(pairs) and its kin."""
    made: dict[object, object] = {}
    given = items(arguments)
    pairs: Iterable[object] = given.items() if isinstance(given, dict) else given
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise damaged("a dictionary made of something else than pairs")
        set_item(made, pair[0], pair[1])
    return made


def reconstructed(arguments: Arguments) -> object:
    """Stand for copyreg._reconstructor(class, base, state), which protocols 0 and 1 write for every object."""
    match arguments:
        case (Global(name), Global("builtins.dict"), dict() as state):
            return Inert(name, entries=dictionary((state,)))
        case (Global(name), Global("builtins.list" | "builtins.set" | "builtins.tuple"), state):
            return Inert(name, items=list(items((state,))))
        case (Global(name), _, state):
            return Inert(name, () if state is None else (state,))
    raise damaged("an object without a class")


def new_object(arguments: Arguments) -> object:
    """Stand for copyreg.__newobj__(class, *arguments)."""
    if not arguments or not isinstance(arguments[0], Global):
        raise damaged("an object without a class")
    return Inert(arguments[0].name, arguments[1:])


def new_object_with_keywords(arguments: Arguments) -> object:
    """Stand for copyreg.__newobj_ex__(class, arguments, keywords)."""
    match arguments:
        case (Global(name), tuple() as given, dict() as keywords):
            return Inert(name, given, entries=dictionary((keywords,)))
    raise damaged("an object without a class")


def set_of(arguments: Arguments) -> set[object]:
    """Stand for set(items)."""
    made: set[object] = set()
    for item in items(arguments):
        add_item(made, item)
    return made


def to_bytes(arguments: Arguments) -> bytes:
    """Stand for what Python 3 writes for bytes into protocol 2: a text and its encoding."""
    match arguments:
        case ():
            return b""
        case (bytes() as plain,):
            return plain
        case (str() as text, "latin1" | "latin-1"):
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError as error:
                raise damaged("bytes beyond 255") from error
    raise damaged("bytes made of something else")


def complex_number(arguments: Arguments) -> complex:
    """Stand for complex(real, imaginary)."""
    match arguments:
        case (float() as real, float() as imaginary):
            return complex(real, imaginary)
    raise damaged("a complex number made of something else")


def opaque(name: str) -> Call:
    """Return the stand-in for what is kept by name only."""
    return lambda arguments: Opaque(name)


def never(arguments: Arguments) -> object:
    """Stand for a name that is only mentioned, such as a dtype."""
    raise damaged("it calls a name that is no function")


def refused(kind: str) -> Call:
    """Return the stand-in for a kind of tensor that is more than numbers in memory."""

    def refuse(arguments: Arguments) -> object:
        raise Unsupported(kind)

    return refuse
