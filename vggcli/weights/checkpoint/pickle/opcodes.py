"""The pickle opcodes of protocols 0 to 5: how each one's operand is written.

Source: the comments of the standard library's `pickletools`. Only the operands are decoded here; what an opcode does
to the stack is `machine`'s part.
"""

from __future__ import annotations

from codecs import escape_decode
from collections.abc import Callable
from struct import unpack

from vggcli.weights.checkpoint import limits
from vggcli.weights.checkpoint.problems import damaged_pickle as damaged
from vggcli.weights.checkpoint.source import Cursor

Operand = object
Reader = Callable[[Cursor], Operand]


def text(data: bytes) -> str:
    """Return UTF-8 text; torch.load reads the byte strings of Python 2 so, too."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise damaged("a text is not UTF-8") from error


def _nothing(cursor: Cursor) -> Operand:
    return None


def _unsigned(width: int) -> Reader:
    return lambda cursor: int.from_bytes(cursor.take(width), "little")


def _int4(cursor: Cursor) -> Operand:
    return int.from_bytes(cursor.take(4), "little", signed=True)


def _float8(cursor: Cursor) -> Operand:
    return unpack(">d", cursor.take(8))[0]


def _data(width: int) -> Reader:
    return lambda cursor: cursor.take(int.from_bytes(cursor.take(width), "little"))


def _text(width: int) -> Reader:
    return lambda cursor: text(cursor.take(int.from_bytes(cursor.take(width), "little")))


def _text_signed4(cursor: Cursor) -> Operand:
    length = int.from_bytes(cursor.take(4), "little", signed=True)
    if length < 0:
        raise damaged("a negative length")
    return text(cursor.take(length))


def _long(width: int) -> Reader:
    def read(cursor: Cursor) -> Operand:
        length = int.from_bytes(cursor.take(width), "little", signed=width == 4)
        if not 0 <= length <= limits.NUMBER_BYTES:
            raise damaged(f"a whole number of {length:,} bytes")
        return int.from_bytes(cursor.take(length), "little", signed=True)

    return read


def _decimal(line: bytes) -> int:
    if len(line) > limits.NUMBER_DIGITS:
        raise damaged(f"a whole number of {len(line):,} digits")
    try:
        return int(line)
    except ValueError as error:
        raise damaged("a number is not written in digits") from error


def _int_line(cursor: Cursor) -> Operand:
    line = cursor.line()
    return {b"00": False, b"01": True}[line] if line in (b"00", b"01") else _decimal(line)


def _long_line(cursor: Cursor) -> Operand:
    return _decimal(cursor.line().removesuffix(b"L"))


def _index_line(cursor: Cursor) -> Operand:
    return _decimal(cursor.line())


def _float_line(cursor: Cursor) -> Operand:
    line = cursor.line()
    try:
        return float(line[: limits.NUMBER_DIGITS])
    except ValueError as error:
        raise damaged("a number is not written in digits") from error


def _string_line(cursor: Cursor) -> Operand:
    line = cursor.line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise damaged("a string without quotes")
    try:
        return text(escape_decode(line[1:-1])[0])
    except ValueError as error:
        raise damaged("a string with a broken escape") from error


def _unicode_line(cursor: Cursor) -> Operand:
    try:
        value = str(cursor.line(), "raw-unicode-escape")
        value.encode("utf-8")  # lone surrogates could not be printed later
    except UnicodeError as error:
        raise damaged("a text with a broken escape") from error
    return value


def _raw_line(cursor: Cursor) -> Operand:
    return text(cursor.line())


def _name_lines(cursor: Cursor) -> Operand:
    return text(cursor.line()), text(cursor.line())


def _frame(cursor: Cursor) -> Operand:
    """A frame only tells how much to read at once; here it need not even be right."""
    return cursor.take(8)


_ROWS: list[tuple[str, str, Reader]] = [
    # stack and control
    ("(", "MARK", _nothing),
    (".", "STOP", _nothing),
    ("0", "POP", _nothing),
    ("1", "POP_MARK", _nothing),
    ("2", "DUP", _nothing),
    ("\x80", "PROTO", _unsigned(1)),
    ("\x95", "FRAME", _frame),
    # numbers
    ("N", "CONST_NONE", _nothing),
    ("\x88", "CONST_TRUE", _nothing),
    ("\x89", "CONST_FALSE", _nothing),
    ("I", "VALUE", _int_line),
    ("L", "VALUE", _long_line),
    ("F", "VALUE", _float_line),
    ("J", "VALUE", _int4),
    ("K", "VALUE", _unsigned(1)),
    ("M", "VALUE", _unsigned(2)),
    ("G", "VALUE", _float8),
    ("\x8a", "VALUE", _long(1)),
    ("\x8b", "VALUE", _long(4)),
    # text and bytes
    ("S", "VALUE", _string_line),
    ("T", "VALUE", _text_signed4),
    ("U", "VALUE", _text(1)),
    ("V", "VALUE", _unicode_line),
    ("X", "VALUE", _text(4)),
    ("\x8c", "VALUE", _text(1)),
    ("\x8d", "VALUE", _text(8)),
    ("B", "VALUE", _data(4)),
    ("C", "VALUE", _data(1)),
    ("\x8e", "VALUE", _data(8)),
    ("\x96", "VALUE", _data(8)),
    # containers
    (")", "EMPTY_TUPLE", _nothing),
    ("t", "TUPLE", _nothing),
    ("\x85", "TUPLE1", _nothing),
    ("\x86", "TUPLE2", _nothing),
    ("\x87", "TUPLE3", _nothing),
    ("]", "EMPTY_LIST", _nothing),
    ("l", "LIST", _nothing),
    ("a", "APPEND", _nothing),
    ("e", "APPENDS", _nothing),
    ("}", "EMPTY_DICT", _nothing),
    ("d", "DICT", _nothing),
    ("s", "SETITEM", _nothing),
    ("u", "SETITEMS", _nothing),
    ("\x8f", "EMPTY_SET", _nothing),
    ("\x90", "ADDITEMS", _nothing),
    ("\x91", "FROZENSET", _nothing),
    # memo
    ("p", "PUT", _index_line),
    ("q", "PUT", _unsigned(1)),
    ("r", "PUT", _unsigned(4)),
    ("\x94", "MEMOIZE", _nothing),
    ("g", "GET", _index_line),
    ("h", "GET", _unsigned(1)),
    ("j", "GET", _unsigned(4)),
    # objects
    ("c", "GLOBAL", _name_lines),
    ("\x93", "STACK_GLOBAL", _nothing),
    ("R", "REDUCE", _nothing),
    ("b", "BUILD", _nothing),
    ("i", "INST", _name_lines),
    ("o", "OBJ", _nothing),
    ("\x81", "NEWOBJ", _nothing),
    ("\x92", "NEWOBJ_EX", _nothing),
    ("\x82", "EXT", _unsigned(1)),
    ("\x83", "EXT", _unsigned(2)),
    ("\x84", "EXT", _unsigned(4)),
    ("P", "PERSID", _raw_line),
    ("Q", "BINPERSID", _nothing),
    ("\x97", "NEXT_BUFFER", _nothing),
    ("\x98", "READONLY_BUFFER", _nothing),
]
# opcode byte -> (what the machine does, how the operand is read)
OPCODES: dict[int, tuple[str, Reader]] = {ord(code): (action, reader) for code, action, reader in _ROWS}
