"""What is printed as YAML is read as the same data, by readers of both revisions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from ruamel.yaml import YAML

from mcpcompose.config.emit import emit

WORDS = [
    "yes",
    "No",
    "1.0",
    "1e3",
    ".5",
    "0x1f",
    "1:30",
    "null",
    "~",
    "<<",
    "",
    "2026-01-01",
    "a:1",
    "*x",
    "${A:-b}",
    "::",
]
TEXTS = st.one_of(
    st.text(),
    st.text(alphabet="ab: -#'\"\\{}[],&*!|>%@`$~=?.0123456789ey\n\t "),
    st.sampled_from(WORDS),
)
SCALARS = TEXTS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)


@pytest.mark.parametrize("version", [(1, 1), (1, 2)])
@given(data=DATA)
@example(data={"a": "first\n\n  second\n", "b": ["x\ny", "\ud7ff\U00010000\ufeff", [[], {}, [["z"]]]], "c": {}})
def test_every_reader_gets_back_what_was_printed(version: tuple[int, int], data: Any) -> None:
    reader = YAML(typ="safe", pure=True)
    reader.version = version

    assert reader.load(emit(data)) == data


def test_it_is_written_for_people() -> None:
    data = {
        "servers": {"a": {"image": "acme/a:1", "command": ["--n", "1"], "tools": {"allow": ["get_*"]}, "args": []}},
        "list": [{"source": "token", "env": "TOKEN"}, ["nested"]],
        "note": "two\nlines\n",
        "nothing": None,
    }

    assert emit(data) == snapshot("""\
servers:
  a:
    image: acme/a:1
    command:
    - '--n'
    - '1'
    tools:
      allow:
      - get_*
    args: []
list:
- source: token
  env: TOKEN
-
  - nested
note: |
  two
  lines
nothing: null
""")
