"""The grammar of references is Compose's, with `${secret:name}` added."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpcompose.spec.template import TemplateError, expand, expand_variables, secret_names, variable_names

VARIABLES = {"A": "a", "EMPTY": "", "B_1": "b"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"), ("$A", "a"), ("${A}", "a"), ("x${A}y", "xay"), ("$$A", "$A"), ("$${A}", "${A}"), ("$B_1.c", "b.c"),  # noqa: E501  a table
        ("${NO}", ""), ("${NO-d}", "d"), ("${NO:-d}", "d"), ("${EMPTY-d}", ""), ("${EMPTY:-d}", "d"), ("${A:-d}", "a"),
        ("${A+x}", "x"), ("${A:+x}", "x"), ("${EMPTY+x}", "x"), ("${EMPTY:+x}", ""), ("${NO+x}", ""), ("${A?m}", "a"),
        ("${EMPTY?m}", ""), ("${NO:-${A}}", "a"), ("${NO:-${NO:-${B_1}}}", "b"), ("${NO:-}", ""), ("${NO:-a:b}", "a:b"),
        ("${NO:-$$}", "$"), ("{}", "{}"), ("a}b", "a}b"),
    ],
)  # fmt: skip
def test_a_reference_becomes_its_value(text: str, value: str) -> None:
    assert expand_variables(text, VARIABLES) == value


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("x ${A", "never closed", 2), ("${}", "not a variable reference", 0), ("${1A}", "not a variable reference", 0),
        ("ab $", "a lone `$`", 3), ("$é", "a lone `$`", 0), ("${A b}", "not a variable reference", 0),
        ("${NO:?say}", "`NO` is not set: say", 0), ("${EMPTY:?}", "`EMPTY` is not set", 0), ("${NO?}", "`NO` is not set", 0),  # noqa: E501  a table
        ("${secret:}", "not a secret reference", 0), ("${secret:a b}", "not a secret reference", 0),
        ("${A:-" * 30 + "}" * 30, "nested deeper", 0),
    ],
)  # fmt: skip
def test_a_malformed_or_missing_reference_says_where(text: str, message: str, offset: int) -> None:
    with pytest.raises(TemplateError, match=message.replace("$", r"\$")) as caught:
        expand_variables(text, VARIABLES)

    assert caught.value.offset == offset


def test_secrets_and_variables_are_found_in_defaults_too() -> None:
    text = "${A:-${secret:one}} ${secret:two} ${B}"

    assert secret_names(text) == {"one", "two"}
    assert variable_names(text) == {"A", "B"}


def test_secrets_are_asked_for_only_when_they_are_needed() -> None:
    asked: list[str] = []

    def secret(name: str) -> str:
        asked.append(name)
        return "s"

    assert expand("${A:-${secret:one}} ${NO:-${secret:two}}", VARIABLES.get, secret) == "a s"
    assert asked == ["two"]


@given(st.text(alphabet="ab$ {}:-?+_1é", max_size=60))
def test_any_text_expands_or_is_a_template_error(text: str) -> None:
    try:
        expand_variables(text, VARIABLES)
    except TemplateError as error:
        assert 0 <= error.offset <= len(text)  # noqa: PT017  both outcomes are fine, this one with a rule


@given(st.text(max_size=60))
def test_a_text_with_its_dollar_signs_doubled_stays_as_it_is(text: str) -> None:
    assert expand_variables(text.replace("$", "$$"), VARIABLES) == text
