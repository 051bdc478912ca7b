"""The small written forms: durations and sizes as in Compose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpcompose.spec.values import parse_duration, parse_flag, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m30s", 90), ("1h", 3600), ("250ms", 0.25), ("1.5s", 1.5), (7, 7), (0, 0), ("10us", 1e-5)],
)
def test_a_duration_is_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "10", "s", "1 m", "-1s", -1, True, None, float("inf"), float("nan"), "9" * 400 + "h"]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512m", 512 << 20),
        ("1g", 1 << 30),
        ("16MiB", 16 << 20),
        ("1kb", 1024),
        ("10b", 10),
        ("1.5k", 1536),
        (5, 5),
        ("0", 0),
    ],
)
def test_a_size_is_bytes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "1tb", -1, True, 1.5, None, "9" * 5000 + "g", 1 << 70, float("inf")])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@pytest.mark.parametrize("value", ["yes", "on", "1", 1, 0, None, ""])
def test_only_true_and_false_are_flags(value: object) -> None:
    with pytest.raises(ValueError, match="true"):
        parse_flag(value)


@given(st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.booleans(), st.none()))
def test_any_value_is_parsed_or_a_value_error(value: object) -> None:
    for parse in (parse_duration, parse_size, parse_flag):
        try:
            parse(value)
        except ValueError:
            continue
