"""Escaped text is one line, safe on a terminal and in a spreadsheet, and gives back its original exactly."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vggcli.text import (
    escape,
    escape_json,
    from_unicode,
    guard_formula,
    printable,
    to_unicode,
    unescape,
    unguard_formula,
)

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

NASTY = "\\\t\n\r\x00\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066\udc80\udcff\ud800'=+-@\uff1d \ufeffxuUntr0189afé日😀"
NASTY += "\u200b\u061c\ufe0f\U000e0041"
texts = st.text(st.sampled_from(NASTY) | st.characters(), max_size=30)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain é 日.jpg", "plain é 日.jpg"),
        ("a\\b", "a\\\\b"),
        ("a\tb\nc\rd", "a\\tb\\nc\\rd"),
        ("\x1b[31m\x00\x7f", "\\x1b[31m\\x00\\x7f"),
        ("\udc85 is a byte, \x85 a character", "\\x85 is a byte, \\u0085 a character"),
        ("\u2028\u2029\u202e\u2069\ud800", "\\u2028\\u2029\\u202e\\u2069\\ud800"),
        ("a\u200b\u200f\u061c\u2060\ufeff\xad.jpg", "a\\u200b\\u200f\\u061c\\u2060\\ufeff\\u00ad.jpg"),
        ("cat\U000e0041\U000e007f", "cat\\U000e0041\\U000e007f"),
        ("❤\ufe0f.jpg", "❤\ufe0f.jpg"),
        ("\ufe0fa\ufe0f\ufe0e\U000e0100", "\\ufe0fa\ufe0f\\ufe0e\\U000e0100"),
    ],
)
def test_each_kind_of_character_has_its_escape(text: str, escaped: str) -> None:
    assert escape(text) == escaped
    assert unescape(escaped) == text


def test_what_is_not_seen_is_seen() -> None:
    """No character that takes no room, or turns the direction, is left; combining marks stand on what they mark."""
    hidden = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
    # Signs that stand about numbers, and the joints of hieroglyphs, are drawn.
    seen = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
    drawn = [c for c in hidden if printable(c) == c]

    assert len(hidden) > 160
    assert [c for c in drawn if c not in seen and not "\U00013430" <= c <= "\U0001343f"] == []
    assert printable("e\u0301") == "e\u0301"


def test_what_looks_like_a_long_escape_and_is_no_character_stays() -> None:
    assert unescape("\\Uffffffff \\U00110000 \\U000E0041") == "\\Uffffffff \\U00110000 \\U000E0041"


@relaxed
@given(texts)
def test_json_gives_back_every_text(text: str) -> None:
    line = escape_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(line) == text
    assert printable(line[1:-1]) == line[1:-1]


def test_printable_escapes_the_same_but_keeps_backslashes_single() -> None:
    assert printable("C:\\a\n\x1b\u202e\udcff") == "C:\\a\\n\\x1b\\u202e\\xff"


@relaxed
@given(texts)
def test_unescape_gives_back_every_text(text: str) -> None:
    assert unescape(escape(text)) == text


@relaxed
@given(texts)
def test_escaped_and_printable_text_is_one_line_of_valid_utf8(text: str) -> None:
    for safe in (escape(text), printable(text)):
        safe.encode()
        assert len(f"{safe}.".splitlines()) == 1
        assert not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 for c in safe)
        assert not set(safe) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@relaxed
@given(texts)
def test_no_guarded_text_begins_as_a_formula_and_the_guard_comes_off_exactly(text: str) -> None:
    guarded = guard_formula(text)
    assert guarded.strip()[:1] not in tuple("=+-@\uff1d\uff0b\uff0d\uff20")
    assert unguard_formula(guarded) == text


@pytest.mark.parametrize("text", ["=1", "+1", "-1.jpg", "@SUM", " =1", "\t=1", "\n\x1b+1", "\ufeff=1", "\uff1d1"])
def test_formulas_get_an_apostrophe(text: str) -> None:
    assert guard_formula(text) == "'" + text


@pytest.mark.parametrize("text", ["", "a=1", "'quoted'", "1-2", "photos/-x.jpg"])
def test_other_text_is_left_alone(text: str) -> None:
    assert guard_formula(text) == text


@relaxed
@given(texts)
def test_parquet_text_is_valid_unicode_and_gives_back_every_text(text: str) -> None:
    stored = to_unicode(text)
    stored.encode()
    assert from_unicode(stored) == text


def test_parquet_text_is_escaped_only_where_it_must_be() -> None:
    assert to_unicode("a\\b\n日") == "a\\b\n日"
    assert to_unicode("a\\b\udcff") == "a\\\\b\\xff"
    assert to_unicode("literally \\xff") == "literally \\\\xff"
