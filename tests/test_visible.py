"""What a person reads of a server's definitions before accepting them: readable, with nothing hidden in it."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpcompose.visible import visible


@pytest.mark.parametrize(
    "text",
    [
        'plain "ASCII" \\ text',
        "wait… for “this” — 5 € ± 2 ° ™ ²",
        "Größe, weiß, café, naïve, señor, łódź, Việt Nam",
        "это файл с текстом, а также о нём",  # noqa: RUF001
        "αρχείο με κείμενο",
        "日本語のAPIを使う 한국어 中文（测试）",  # noqa: RUF001
        "हिन्दी में नमस्ते ไทยนี้",
        "العربية עברית",
        "→ ✓ • emoji 🎉",
    ],
)
def test_what_people_write_stays_readable(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u200bb", "a\\u200bb"),
        ("\u202egnp", "\\u202egnp"),
        ("x\u2066y\u2069", "x\\u2066y\\u2069"),
        ("\u061c\u200e\ufeff\u00ad", "\\u061c\\u200e\\ufeff\\u00ad"),
        ("\x1b[31m\x9b\x7f\r", "\\u001b[31m\\u009b\\u007f\\r"),
        ("a\u2028b\u0085c", "a\\u2028b\\u0085c"),
        ("no\u00a0break\u3000wide", "no\\u00a0break\\u3000wide"),
        ("\u3164\u2800\u115f\uffa0", "\\u3164\\u2800\\u115f\\uffa0"),
        ("x\ufe0f\U000e0101", "x\\ufe0f\\udb40\\udd01"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("\ud800", "\\ud800"),
        ("e\u0301", "e\\u0301"),
        ("\u0439 \u0438\u0306", "й \u0438\\u0306"),
        ("p\u0430th", "p\\u0430th"),
        ("\u0441\u043e\u0440\u0443", "\\u0441\\u043e\\u0440\\u0443"),
        ("\uff46\uff49le \ufb01le \u212aey", "\\uff46\\uff49le \\ufb01le \\u212aey"),
        ("\U0001d41b", "\\ud835\\udc1b"),
    ],
)
def test_what_hides_turns_or_passes_for_something_else_is_shown_by_its_number(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(alphabet=st.characters(), max_size=40))
def test_no_control_direction_or_invisible_character_is_left(text: str) -> None:
    assert not [c for c in visible(text) if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}]
    assert not [c for c in visible(text) if unicodedata.category(c) == "Zs" and c != " "]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters='\\"'), max_size=40))
def test_two_different_texts_never_look_the_same(text: str) -> None:
    """What is shown is JSON, where a backslash and a quotation mark of the text itself have a backslash before them."""
    assert json.loads(f'"{visible(text)}"') == text
