"""Escaped text is one line, safe on a terminal and in a spreadsheet, and gives back its original exactly."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vggcli.text import escape, from_unicode, guard_formula, printable, to_unicode, unescape, unguard_formula

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

NASTY = "\\\t\n\r\x00\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066\udc80\udcff\ud800'=+-@\uff1d \ufeffxuntr0189afé日😀"
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
    ],
)
def test_each_kind_of_character_has_its_escape(text: str, escaped: str) -> None:
    assert escape(text) == escaped
    assert unescape(escaped) == text


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
