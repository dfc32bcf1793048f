"""The stack machine of pickle, for data only: it makes containers, numbers and texts, and looks nothing up.

Names that a real unpickler would import stay names (`Global`); what would be called is answered by `rebuild`, which
knows the few functions that tensors need, or becomes an inert `Opaque`. After a name that is not known the machine
goes on to the end, without effect, so that the error can list everything the pickle asks for.
"""

from __future__ import annotations

from collections.abc import Callable

from vggcli.checkpoint import limits, rebuild
from vggcli.checkpoint.opcodes import OPCODES, Operand, damaged
from vggcli.checkpoint.problems import Unreadable, Unsupported
from vggcli.checkpoint.refusals import forbidden
from vggcli.checkpoint.source import Cursor
from vggcli.checkpoint.values import Global, Opaque, Unbuilt

NEWEST_PROTOCOL = 5
PersistentLoad = Callable[[object], object]


class Machine:
    """Runs one pickle.

    Args:
        cursor: stands at the first opcode; afterwards behind STOP.
        persistent_load: answers persistent ids (torch's storages), or raises `Unreadable`.
    """

    def __init__(self, cursor: Cursor, persistent_load: PersistentLoad) -> None:
        self._cursor, self._persistent_load = cursor, persistent_load
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._floor = 0  # the stack below belongs to an open MARK
        self._memo: dict[int, object] = {}
        self._names: dict[str, bool] = {}  # every global in order -> whether it is known here
        self._unsupported: Unsupported | None = None
        # After the first refusal, operations on what was not made must not stop the listing of names.
        self._lenient = False

    def run(self) -> object:
        """Return the pickled value; tensors of PyTorch before 0.4 in it are `Unbuilt`.

        Raises:
            Forbidden: it asks for code or classes; lists all names.
            Unreadable: it is damaged, cut or too large, or holds an unsupported kind of tensor.
        """
        try:
            value = self._run()
        except Unreadable:
            self._refuse()
            raise
        self._refuse()
        return value

    def _refuse(self) -> None:
        if not all(self._names.values()):
            raise forbidden(self._names) from None
        if self._unsupported:
            raise self._unsupported from None

    def _run(self) -> object:
        take, stack = self._cursor.take, self._stack
        for _ in range(limits.OPCODES):
            code = take(1)[0]
            if code == 0x2E:  # STOP
                return self._pop()
            if code not in OPCODES:
                raise damaged(f"byte 0x{code:02x} is no pickle opcode")
            action, reader = OPCODES[code]
            ACTIONS[action](self, reader(self._cursor))
            if len(stack) > limits.STACK_ITEMS:
                raise damaged("it piles up too many values")
        raise Unreadable(f"its pickle has more than {limits.OPCODES:,} steps", "Save the tensors only")

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
        if method == "append" and isinstance(target, list):
            target.extend(items)
        elif method == "add" and isinstance(target, set):
            for item in items:
                target.add(self._key(item))
        elif method == "set" and isinstance(target, dict) and len(items) % 2 == 0:
            for key, value in zip(items[::2], items[1::2], strict=True):
                rebuild.set_item(target, self._key(key), value)
        elif not (self._lenient or isinstance(target, Opaque)):
            raise damaged(f"it puts {len(items)} values into something that is no container")

    def _key(self, key: object) -> object:
        return id(key) if self._lenient and isinstance(key, (Global, Opaque, Unbuilt)) else rebuild.key(key)

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
        self._push(frozenset(self._key(item) for item in self._pop_mark()))

    # memo

    def _put(self, index: Operand) -> None:
        if not isinstance(index, int) or index < 0:
            raise damaged("a negative memo index")
        self._memo[index] = self._top()

    def _get(self, index: Operand) -> None:
        if not isinstance(index, int) or index not in self._memo:
            raise damaged("it recalls a value that it never stored")
        self._push(self._memo[index])

    # objects

    def _find(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise damaged("a name that is no text")
        dotted = rebuild.dotted_name(module, name)
        if len(self._names) < limits.NAMES:
            known = self._names.setdefault(dotted, rebuild.is_known(dotted))
            self._lenient = self._lenient or not known
        elif dotted not in self._names:
            raise damaged("it asks for too many names")
        self._push(Global(dotted))

    def _global(self, operand: Operand) -> None:
        assert isinstance(operand, tuple)
        self._find(*operand)

    def _stack_global(self, _: Operand) -> None:
        name = self._pop()
        self._find(self._pop(), name)

    def _inst(self, operand: Operand) -> None:
        assert isinstance(operand, tuple)
        arguments = tuple(self._pop_mark())
        self._find(*operand)
        self._call(self._pop(), arguments)

    def _obj(self, _: Operand) -> None:
        items = self._pop_mark()
        if not items:
            raise damaged("an object without a class")
        self._call(items[0], tuple(items[1:]))

    def _reduce(self, _: Operand) -> None:
        arguments = self._pop()
        self._call(self._pop(), arguments)

    def _new_object_with_keywords(self, _: Operand) -> None:
        keywords = self._pop()
        arguments = self._pop()
        if keywords != {} and not self._lenient:
            raise damaged("an object with keyword arguments")
        self._call(self._pop(), arguments)

    def _call(self, function: object, arguments: object) -> None:
        """Push what calling `function` would have made."""
        name = function.name if isinstance(function, Global) else ""
        try:
            if not name:
                raise damaged("it calls something that is no function")
            if not isinstance(arguments, tuple):
                raise damaged("the arguments of a call are no tuple")
            self._push(rebuild.call(name, arguments))
        except Unreadable as problem:
            self._tolerate(problem)
            self._push(Opaque(name))

    def _build(self, _: Operand) -> None:
        state = self._pop()
        try:
            rebuild.build(self._top(), state)
        except Unreadable as problem:
            self._tolerate(problem)

    def _persistent(self, saved_id: object) -> None:
        try:
            self._push(self._persistent_load(saved_id))
        except Unreadable as problem:
            self._tolerate(problem)
            self._push(Opaque(""))

    def _tolerate(self, problem: Unreadable) -> None:
        """Go on after a problem that the listing of names may survive, else raise it."""
        if isinstance(problem, Unsupported):
            self._unsupported = self._unsupported or problem
            self._lenient = True
        elif not self._lenient:
            raise problem

    def _extension(self, code: Operand) -> None:
        self._find("copyreg", f"extension code {code}")

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
    "MEMOIZE": lambda machine, _: machine._put(len(machine._memo)),
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
