"""What a hostile or careless file can do with `interceptors`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mcpcompose.config.interceptor_keys import FITS, KNOWN, NEEDS
from mcpcompose.config.load import Loaded, Request, load
from mcpcompose.errors import FileProblems
from mcpcompose.spec.interceptor import ACTIONS, Interceptor


def loaded(folder: Path, *interceptors: dict[str, Any], **keys: Any) -> Loaded:
    whole = {"servers": {"a": {"image": "x"}}, "interceptors": interceptors, **keys}
    (folder / "mcp-compose.yaml").write_text(json.dumps(whole))
    return load(Request(files=(), directory=folder, environ={"HOST": "h"}, home=folder))


def problems(folder: Path, *interceptors: dict[str, Any], **keys: Any) -> list[str]:
    with pytest.raises(FileProblems) as caught:
        loaded(folder, *interceptors, **keys)
    return [problem.message for problem in caught.value.problems]


def test_every_key_is_somebodys_or_everybodys() -> None:
    everybodys = {"name", "use", "run", "url", "image", "python", "match", "timeout", "concurrency", "on_failure"}

    assert set(FITS) == set(Interceptor.model_fields) - everybodys
    assert set().union(*FITS.values()) | {"check-arguments"} <= KNOWN
    assert set(ACTIONS) <= set(FITS["action"])
    assert all(what in FITS[key] for what, keys in NEEDS.items() for key in keys)


@pytest.mark.parametrize("key", sorted(set(FITS) - {"allow"}))
def test_a_key_on_any_other_kind_is_a_problem_with_its_place(key: str, tmp_path: Path) -> None:
    values = {"environment": {"A": "b"}, "headers": {"A": "b"}, "secrets": [], "keep": True, "entropy": True}
    given = {key: values.get(key, "x")}
    for what in sorted(KNOWN - set(FITS[key])):
        kind = {what: "https://x" if what == "url" else "a:b"} if what in ("run", "url", "image", "python") else None
        entry = {**(kind or {"use": what}), **given}

        assert any(said.startswith(f"`{key}` belongs to ") for said in problems(tmp_path, entry)), entry


def test_thousands_of_entries_are_refused_at_once(tmp_path: Path) -> None:
    since = time.monotonic()

    assert problems(tmp_path, *([{"use": "sanitize"}] * 5000)) == ["`interceptors` has too many items; 256 at most"]
    rules = [{"deny": "true"}] * 2000
    assert problems(tmp_path, {"use": "rules", "rules": rules}) == ["`rules` has too many items; 1000 at most"]
    assert time.monotonic() - since < 20


def test_a_glob_that_repeats_stars_takes_no_time(tmp_path: Path) -> None:
    since = time.monotonic()

    found = problems(tmp_path, {"use": "sanitize", "match": {"methods": "*a" * 5000 + "b"}})

    assert len(found) == 1
    assert time.monotonic() - since < 5


def test_references_are_kept_and_never_printed_as_values(tmp_path: Path) -> None:
    entry = {"url": "https://${HOST}/x", "headers": {"A": "${secret:s}"}}
    found = loaded(tmp_path, entry, secrets={"s": {"environment": "S"}})

    assert found.project.interceptors[0].url == "https://${HOST}/x"
    assert found.printable()["interceptors"][0] == entry


def test_where_a_value_of_an_entry_came_from_is_known(tmp_path: Path) -> None:
    found = loaded(tmp_path, {"use": "rate-limit", "limit": "5/minute"}, {"use": "sanitize"})

    assert found.origin("interceptors.0.limit").value == "5/minute"
    assert found.origin("interceptors.0.limit").position is not None
    assert found.origin("interceptors.1.on_failure").kind == "default"


@pytest.mark.parametrize(
    "limit", ["0/0 second", "5/", "/minute", "-1/minute", "1/minute/2", "5/fortnight", "1e3/hour", "٣/minute"]
)
def test_a_rate_that_makes_no_sense_is_refused(limit: str, tmp_path: Path) -> None:
    (said,) = problems(tmp_path, {"use": "rate-limit", "limit": limit})

    assert said.startswith("`limit` must be so many in so much time")


@pytest.mark.parametrize("key", ["{owner", "owner}", "{}", "{a b}", "{{owner}}", "plain", "{owner}}"])
def test_a_pin_that_is_made_of_no_arguments_is_refused(key: str, tmp_path: Path) -> None:
    assert problems(tmp_path, {"use": "session-pin", "key": key}) == ["`key` is made of a tool's arguments"]


def test_names_that_nobody_has_in_an_include_are_remarked_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    rule = "{server: [github, 'git*', gitlab], client: cursr}"
    flow = "{use: flow, sources: [{server: githb, labels: [private]}]}"
    (tmp_path / "team" / "rules.yaml").write_text(f"interceptors:\n  - {{use: approve, match: {rule}}}\n  - {flow}\n")

    found = loaded(
        tmp_path, include=["team/rules.yaml"], servers={"github": {"image": "x"}}, clients={"cursor": {}}
    ).project.provenance.remarks

    about = "which a rule of an include is about (`team/rules.yaml"
    assert found == (
        f"there is no server `gitlab`, {about}:2:53`)",
        f"there is no client `cursr`, {about}:2:70`); did you mean `cursor`?",
        f"there is no server `githb`, {about}:3:36`); did you mean `github`?",
    )
    assert loaded(tmp_path, {"use": "approve", "match": {"server": "a"}}).project.provenance.remarks == ()
