"""The threat model claims nothing that no test shows: what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?!threat |---)([^|]+) \|(.+)\|$", PAGE.partition("## Threats")[2], re.MULTILINE)


@pytest.mark.parametrize(("threat", "rest"), ROWS, ids=[row[0] for row in ROWS])
def test_every_threat_has_tests_that_exist(threat: str, rest: str) -> None:
    named = re.findall(r"`(tests/[^`]+\.py)`", rest)
    assert named, threat
    assert [one for one in named if not (ROOT / one).is_file()] == []


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/threat-model.md"])
def test_every_link_leads_to_a_heading_that_exists(page: str) -> None:
    here = ROOT / page
    for target, heading in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", here.read_text(encoding="utf-8")):
        file = (here.parent / target) if target else here
        assert file.is_file(), target
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
        assert not heading or heading in slugs, f"{target}#{heading}"


def test_the_pages_are_found_from_the_table_of_all_pages() -> None:
    table = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert "(threat-model.md)" in table
    assert "(../SECURITY.md)" in table
