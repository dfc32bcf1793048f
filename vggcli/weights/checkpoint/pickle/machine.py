"""The stack machine of pickle, for data only: it makes containers, numbers and texts, and imports and calls nothing.

Names that a real unpickler would import stay names (`Global`); what it would call is answered by `lookups`, which knows
the few functions that tensors need, and keeps everything else as an `Inert` tree of what it would have been made of.
After a name that only attacks need the machine goes on to the end, without effect, so that the error can list
everything the pickle asks for.
"""

from __future__ import annotations

from collections.abc import Callable

from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.pickle.lookups import Lookups
from vggcli.weights.checkpoint.pickle.opcodes import OPCODES, Operand
from vggcli.weights.checkpoint.pickle.rebuild import add_item, set_item
from vggcli.weights.checkpoint.pickle.values import Inert, Opaque
from vggcli.weights.checkpoint.problems import Unreadable
from vggcli.weights.checkpoint.problems import damaged_pickle as damaged
from vggcli.weights.checkpoint.source import Cursor

NEWEST_PROTOCOL = 5
STOP = ord(".")
NOTHING = Opaque("nothing stored")  # in the memo
PersistentLoad = Callable[[object], object]


class Machine:
    """Runs one pickle.

    Args:
        cursor: stands at the first opcode; afterwards behind STOP.
        persistent_load: answers persistent ids (torch's storages), or raises `Unreadable`.
    """

    def __init__(self, cursor: Cursor, persistent_load: PersistentLoad) -> None:
        self._cursor, self._persistent_load = cursor, persistent_load
        self._lookups = Lookups()
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._floor = 0  # the stack below belongs to an open MARK
        self._memo: list[object] = []  # no dict: a file could choose indices whose hashes collide
        self._stored = 0

    def run(self) -> object:
        """Return the pickled value; tensors of PyTorch before 0.4 in it are `PendingTensor`.

        Raises:
            Forbidden: it asks for what only attacks need; lists all names.
            Unreadable: it is damaged, cut or too large, or holds an unsupported kind of tensor.
        """
        try:
            value = self._run()
        except Unreadable:
            self._lookups.refuse()
            raise
        self._lookups.refuse()
        return value

    def _run(self) -> object:
        take, stack = self._cursor.take, self._stack
        for _ in range(limits.OPCODES):
            code = take(1)[0]
            if code == STOP:
                return self._pop()
            if code not in OPCODES:
                raise damaged(f"byte 0x{code:02x} is no pickle opcode")
            action, reader = OPCODES[code]
            ACTIONS[action](self, reader(self._cursor))
            if len(stack) > limits.STACK_ITEMS:
                raise damaged("it piles up too many values")
        raise Unreadable(f"its pickle has more than {limits.OPCODES:,} steps", "Name a file of the weights alone")

    # stack

    def _pop(self) -> object:
        if len(self._stack) <= self._floor:
            raise damaged("it takes a value that is not there")
        return self._stack.pop()

    def _top(self) -> object:
        if len(self._stack) <= self._floor:
            raise damaged("it takes a value that is not there")
        return self._stack[-1]

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _mark(self, _: Operand) -> None:
        if len(self._marks) >= limits.MARKS:
            raise damaged("too many open marks")
        self._marks.append(self._floor)
        self._floor = len(self._stack)

    def _pop_mark(self) -> list[object]:
        if not self._marks:
            raise damaged("it closes a mark that is not open")
        items = self._stack[self._floor :]
        del self._stack[self._floor :]
        self._floor = self._marks.pop()
        return items

    def _pop_any(self, _: Operand) -> None:
        if len(self._stack) == self._floor and self._marks:  # POP may take the mark itself
            self._pop_mark()
        else:
            self._pop()

    def _drop_mark(self, _: Operand) -> None:
        self._pop_mark()

    def _tuple(self, length: int) -> None:
        items = [self._pop() for _ in range(length)]
        self._push(tuple(reversed(items)))

    # containers

    def _fill(self, method: str, target: object, items: list[object]) -> None:
        """Put items into a list, set or dict (`method`: append, add or set)."""
        if self._lookups.lenient or isinstance(target, Opaque):
            return
        if isinstance(target, Inert):
            target = target.entries if method == "set" else target.items
            method = "append" if method == "add" else method
        if method == "append" and isinstance(target, list):
            target.extend(items)
        elif method == "add" and isinstance(target, set):
            for item in items:
                add_item(target, item)
        elif method == "set" and isinstance(target, dict) and len(items) % 2 == 0:
            for key, value in zip(items[::2], items[1::2], strict=True):
                set_item(target, key, value)
        else:
            raise damaged("it puts values into something that is no container for them")

    def _make(self, method: str, target: object) -> None:
        self._fill(method, target, self._pop_mark())
        self._push(target)

    def _extend(self, method: str) -> None:
        items = self._pop_mark()
        self._fill(method, self._top(), items)

    def _append(self, _: Operand) -> None:
        item = self._pop()
        self._fill("append", self._top(), [item])

    def _set_item(self, _: Operand) -> None:
        value = self._pop()
        key = self._pop()
        self._fill("set", self._top(), [key, value])

    def _frozenset(self, _: Operand) -> None:
        made: set[object] = set()
        self._fill("add", made, self._pop_mark())
        self._push(frozenset(made))

    # memo

    def _put(self, index: Operand) -> None:
        if not isinstance(index, int) or not 0 <= index < limits.OPCODES:
            raise damaged("a memo index that no pickler writes")
        if index >= len(self._memo):
            self._memo.extend([NOTHING] * (index + 1 - len(self._memo)))
        self._stored += self._memo[index] is NOTHING
        self._memo[index] = self._top()

    def _memoize(self, _: Operand) -> None:
        self._put(self._stored)

    def _get(self, index: Operand) -> None:
        value = self._memo[index] if isinstance(index, int) and 0 <= index < len(self._memo) else NOTHING
        if value is NOTHING:
            raise damaged("it recalls a value that it never stored")
        self._push(value)

    # objects

    def _global(self, names: Operand) -> None:
        assert isinstance(names, tuple)
        self._push(self._lookups.find(*names))

    def _stack_global(self, _: Operand) -> None:
        name = self._pop()
        self._push(self._lookups.find(self._pop(), name))

    def _inst(self, names: Operand) -> None:
        assert isinstance(names, tuple)
        self._push(self._lookups.call(self._lookups.find(*names), tuple(self._pop_mark())))

    def _obj(self, _: Operand) -> None:
        items = self._pop_mark()
        self._push(self._lookups.call(items[0] if items else None, tuple(items[1:])))

    def _reduce(self, _: Operand) -> None:
        arguments = self._pop()
        self._push(self._lookups.call(self._pop(), arguments))

    def _new_object_with_keywords(self, _: Operand) -> None:
        keywords, arguments = self._pop(), self._pop()
        self._push(self._lookups.call(self._pop(), arguments, keywords))

    def _build(self, _: Operand) -> None:
        state = self._pop()
        self._lookups.build(self._top(), state)

    def _persistent(self, saved_id: object) -> None:
        try:
            value = self._persistent_load(saved_id)
        except Unreadable as problem:
            self._lookups.tolerate(problem)
            value = Opaque("")
        self._push(value)

    def _extension(self, code: Operand) -> None:
        self._push(self._lookups.find("copyreg", f"extension code {code}"))

    def _protocol(self, number: Operand) -> None:
        if not isinstance(number, int) or number > NEWEST_PROTOCOL:
            raise damaged(f"protocol {number} does not exist")

    def _no_buffers(self, _: Operand) -> None:
        raise damaged("it refers to buffers outside the file")


ACTIONS: dict[str, Callable[[Machine, Operand], None]] = {
    "MARK": Machine._mark,
    "POP": Machine._pop_any,
    "POP_MARK": Machine._drop_mark,
    "DUP": lambda machine, _: machine._push(machine._top()),
    "PROTO": Machine._protocol,
    "FRAME": lambda machine, _: None,  # says how much to read at once, which changes nothing here
    "CONST_NONE": lambda machine, _: machine._push(None),
    "CONST_TRUE": lambda machine, _: machine._push(True),
    "CONST_FALSE": lambda machine, _: machine._push(False),
    "VALUE": Machine._push,
    "EMPTY_TUPLE": lambda machine, _: machine._push(()),
    "TUPLE": lambda machine, _: machine._push(tuple(machine._pop_mark())),
    "TUPLE1": lambda machine, _: machine._tuple(1),
    "TUPLE2": lambda machine, _: machine._tuple(2),
    "TUPLE3": lambda machine, _: machine._tuple(3),
    "EMPTY_LIST": lambda machine, _: machine._push([]),
    "LIST": lambda machine, _: machine._make("append", []),
    "APPEND": Machine._append,
    "APPENDS": lambda machine, _: machine._extend("append"),
    "EMPTY_DICT": lambda machine, _: machine._push({}),
    "DICT": lambda machine, _: machine._make("set", {}),
    "SETITEM": Machine._set_item,
    "SETITEMS": lambda machine, _: machine._extend("set"),
    "EMPTY_SET": lambda machine, _: machine._push(set()),
    "ADDITEMS": lambda machine, _: machine._extend("add"),
    "FROZENSET": Machine._frozenset,
    "PUT": Machine._put,
    "MEMOIZE": Machine._memoize,
    "GET": Machine._get,
    "GLOBAL": Machine._global,
    "STACK_GLOBAL": Machine._stack_global,
    "REDUCE": Machine._reduce,
    "BUILD": Machine._build,
    "INST": Machine._inst,
    "OBJ": Machine._obj,
    "NEWOBJ": Machine._reduce,
    "NEWOBJ_EX": Machine._new_object_with_keywords,
    "EXT": Machine._extension,
    "PERSID": Machine._persistent,
    "BINPERSID": lambda machine, _: machine._persistent(machine._pop()),
    "NEXT_BUFFER": Machine._no_buffers,
    "READONLY_BUFFER": Machine._no_buffers,
}
