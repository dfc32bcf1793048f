r"""Text that stays one line and commands no terminal: escaping, its exact inverse, and the guard for spreadsheets.

File names, class names and error texts come from strangers.  A newline in one would split a row, an escape sequence
would drive the terminal, a bidirectional override would show another name than the one it is, and of two names that
differ in a zero-width space one cannot be told from the other.

| character | written as |
| --- | --- |
| backslash, tab, newline, carriage return | `\\`, `\t`, `\n`, `\r` |
| other C0 controls, delete | `\x00` to `\x1f`, `\x7f` |
| byte 0x80 to 0xff that is no UTF-8 (U+DC80 to U+DCFF of `os.fsdecode`) | `\x80` to `\xff` |
| C1 controls, line and paragraph separators, other surrogates | `\u0085`, `\u2028`, ... |
| what changes the direction: U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069 | `\u202e`, ... |
| what is not seen: zero-width spaces and joiners, soft hyphens, fillers, tags, U+FEFF | `\u200b`, `\U000e0041`, ... |
| a variation selector with no character before it to vary | `\ufe0f`, `\U000e0100`, ... |

`\xNN` of 0x80 and above is therefore always a byte, never a character, and every escaped text has one meaning.
"""

from __future__ import annotations

import re
import reprlib

# Everything that ends a line for some reader, that a terminal obeys, that reorders what is shown, or is no UTF-8; and,
# from the soft hyphen on, what Unicode calls default ignorable: it takes no room and is not seen.
_UNSAFE = (
    r"\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028-\u202e"
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u200b-\u200f\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
# These choose among the forms of the character before them (an emoji's colours, a kanji's strokes): one is writing, and
# one without a character, or a second one, can only hide something.
_SELECTORS = r"\u180b-\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_STRAY_SELECTOR = f"(?<![^{_UNSAFE}{_SELECTORS}])[{_SELECTORS}]"
# Texts, which `re` compiles when they are first used: most programs print plain names and never do.
_TO_PRINT = f"[{_UNSAFE}]|{_STRAY_SELECTOR}"
_TO_ESCAPE = rf"[\\{_UNSAFE}]|{_STRAY_SELECTOR}"
_TO_ESCAPE_IN_JSON = _TO_PRINT.replace(r"\x00-\x1f", "")
_ESCAPED = r"\\(?:([\\tnr])|x([0-9a-f]{2})|u([0-9a-f]{4})|U(000[0-9a-f]{5}|0010[0-9a-f]{4}))"
_SHORT = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_LONG = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}

# What a spreadsheet takes for the start of a formula, in both widths, behind whatever it strips before it looks.
_FORMULA = r"'*[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]"

# The escapes of what no Parquet string can hold: bytes that are no UTF-8, lone surrogates.
_LOOKS_UNDECODABLE = r"\\x[89a-f][0-9a-f]|\\ud[89a-f][0-9a-f]{2}"
_SURROGATE = r"[\ud800-\udfff]"


def _escape_one(match: re.Match[str]) -> str:
    character = match.group()
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def _unescape_one(match: re.Match[str]) -> str:
    short, byte, code, long_code = match.groups()
    if short:
        return _LONG[short]
    if byte:
        return chr(int(byte, 16)) if byte < "80" else chr(0xDC00 + int(byte, 16))
    return chr(int(code or long_code, 16))


def _escape_one_in_json(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _is_plain(text: str) -> bool:
    """Whether all of it is ASCII that is seen, which nearly every text is, and then nothing is to be looked for."""
    return text.isascii() and text.isprintable()


def escape(text: str) -> str:
    """The text on one line, as UTF-8 can hold it; `unescape` gives back exactly the original."""
    return text if _is_plain(text) and "\\" not in text else re.sub(_TO_ESCAPE, _escape_one, text)


def unescape(text: str) -> str:
    """The original of an escaped text; what is no escape stays as it is."""
    return re.sub(_ESCAPED, _unescape_one, text) if "\\" in text else text


def printable(text: str) -> str:
    """The text for people: nothing in it commands, reorders or is not seen; backslashes stay single."""
    return text if _is_plain(text) else re.sub(_TO_PRINT, _escape_one, text)


def escape_json(text: str) -> str:
    """The same in a text that is JSON, by JSON's own escapes, so that every reader gets back the original."""
    return text if _is_plain(text) else re.sub(_TO_ESCAPE_IN_JSON, _escape_one_in_json, text)


def guard_formula(text: str) -> str:
    """The text with a leading apostrophe where a spreadsheet would run it; `unguard_formula` is the exact inverse."""
    # Texts that already look guarded get one more apostrophe, or the inverse would take theirs away.
    return "'" + text if re.match(_FORMULA, text) else text


def unguard_formula(text: str) -> str:
    """The original of a guarded text."""
    return text[1:] if text.startswith("'") and re.match(_FORMULA, text) else text


def to_unicode(text: str) -> str:
    """The text as valid Unicode: as it is, or escaped where it is not or looks escaped; see `from_unicode`."""
    return escape(text) if re.search(_SURROGATE, text) or re.search(_LOOKS_UNDECODABLE, text) else text


def from_unicode(text: str) -> str:
    """The original of `to_unicode`."""
    return unescape(text) if re.search(_LOOKS_UNDECODABLE, text) else text


class _Brief(reprlib.Repr):
    """Writes no more of a value than a message has room for: a file may hold one long text a million times."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = self.maxstring = 100

    def repr_instance(self, value: object, level: int) -> str:
        return repr(value) if value is None or isinstance(value, bool | float) else f"<{type(value).__name__}>"


_BRIEF = _Brief()


def brief(value: object, most: int = 100) -> str:
    """The beginning of a value of any size, as Python prints it, in so many characters at most.

    Examples:
        >>> brief([0.5, 0.5]), brief("RGB"), len(brief(["x" * 1000] * 1000))
        ('[0.5, 0.5]', 'RGB', 100)
    """
    return (value if isinstance(value, str) else _BRIEF.repr(value))[:most]
