from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mcpcompose.errors import ApprovalNeeded
from mcpcompose.orchestrator.approval import forms
from mcpcompose.orchestrator.forms import Form
from mcpcompose.orchestrator.loosening import rules
from mcpcompose.spec.interceptor import Audit, Interceptor, Session
from mcpcompose.spec.project import Project, Provenance
from orchestrator.stage import Stage, project

PIN = {"use": "session-pin", "key": "{owner}/{repo}", "match": {"server": "github"}}
NAMED = {**PIN, "name": "pin"}
SCAN = {"use": "secret-scan"}
SERVERS = {"github": {"image": "hub:1"}}


def governed(*interceptors: dict[str, Any], **keys: Any) -> Project:
    made = tuple(Interceptor.model_validate(one) for one in interceptors)
    return project(**{"servers": SERVERS, **keys}, interceptors=made)


def asked(before: Project, now: Project) -> list[tuple[str, str, str]]:
    """What going from *before* to *now* has to be approved for, beyond what *now* needs anyway."""
    always = {form.hash for form in needed(now)}
    found = (form for form in needed(now, rules(before)) if form.hash not in always)
    return [(form.kind, form.subject, form.text) for form in found]


def needed(what: Project, baseline: Any = None) -> tuple[Form, ...]:
    return forms(what, variables={}, digests={}, home=Path("/home/someone"), baseline=baseline)


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (PIN, {**PIN, "key": "{owner}"}, 'key: "{owner}", was "{owner}/{repo}"'),
        (PIN, {**PIN, "action": "ask"}, 'action: "ask", was "block"'),
        (NAMED, {**NAMED, "match": {"server": "git*"}}, None),
        (NAMED, {**NAMED, "match": {}}, None),
        (NAMED, {**NAMED, "name": "mine"}, 'pinned to is forgotten: it is kept as "mine", was "pin"'),
        (PIN, {**PIN, "match": {}}, 'kept as "session-pin * {owner}/{repo}", was "session-pin github {owner}/{repo}"'),
        (SCAN, {**SCAN, "match": {"server": "github"}}, 'match: {"server": ["github"]}, was {}'),
        (SCAN, {**SCAN, "match": {"client": "cursor"}}, 'match: {"client": ["cursor"]}, was {}'),
        (SCAN, {**SCAN, "match": {"methods": "tools/*"}}, 'match: {"methods": ["tools/*"]}, was {}'),
        (SCAN, {**SCAN, "match": {"tools": "*"}}, 'match: {"tools": ["*"]}, was {}'),
        (
            {**SCAN, "match": {"tools": ["get_*", "put_it"]}},
            {**SCAN, "match": {"tools": ["get_*"]}},
            'match: {"tools": ["get_*"]}, was {"tools": ["get_*", "put_it"]}',
        ),
        ({**SCAN, "match": {"tools": ["get_it"]}}, {**SCAN, "match": {"tools": ["get_*"]}}, None),
        (
            {**SCAN, "match": {"annotations": {"readOnlyHint": True}}},
            {**SCAN, "match": {"annotations": {"readOnlyHint": True, "openWorldHint": True}}},
            'match: {"annotations": {"openWorldHint": true, "readOnlyHint": true}}, was {"annotations": {"readOnly',
        ),
        (SCAN, {**SCAN, "when": "after"}, 'when: "after", was "both"'),
        ({**SCAN, "when": "after"}, SCAN, None),
        (SCAN, {**SCAN, "action": "warn"}, 'action: "warn", was "redact"'),
        (SCAN, {**SCAN, "action": "block"}, None),
        (SCAN, {**SCAN, "action": "redact", "timeout": 9, "message": "no"}, None),
        (SCAN, {**SCAN, "entropy": False}, "entropy: false, was true"),
        (SCAN, {**SCAN, "allow": [{"rule": "github"}]}, 'allow: [{"rule": "github"}], was []'),
        ({**SCAN, "allow": [{"rule": "github"}]}, SCAN, None),
        ({"use": "rate-limit", "limit": "5/minute"}, {"use": "rate-limit", "limit": "4 / minutes"}, None),
        (
            {"use": "rate-limit", "limit": "5/minute"},
            {"use": "rate-limit", "limit": "5/second"},
            'limit: "5/second", was "5/minute"',
        ),
        (
            {"use": "rate-limit", "limit": "5/minute"},
            {"use": "rate-limit", "limit": "5/minute", "per": "tool"},
            'per: "tool", was "session"',
        ),
        ({"use": "size-limit", "result": 100}, {"use": "size-limit", "result": 50, "arguments": 9}, None),
        ({"use": "size-limit", "result": 100}, {"use": "size-limit", "arguments": 9}, "result: null, was 100"),
        ({"use": "approve"}, {"use": "approve", "remember": "session"}, 'remember: "session", was "call"'),
        ({"use": "approve"}, {"use": "approve", "message": "yes"}, 'message: "yes", was null: it is what the person'),
        (
            {"use": "approve", "match": {"tools": "*"}},
            {"use": "approve"},
            'match: {}, was {"tools": ["*"]}: it names fewer calls to ask for',
        ),
        ({"use": "approve"}, {"use": "approve", "match": {"server": "git*"}}, "match: "),
        ({"use": "approve", "match": {"server": "git*"}}, {"use": "approve"}, None),
        (
            {"use": "approve", "match": {"methods": ["elicitation/create", "tools/call"]}},
            {"use": "approve"},
            'match: {}, was {"methods": ["elicitation/create", "tools/call"]}',
        ),
        (
            {**SCAN, "match": {"methods": "*/list"}},
            SCAN,
            'match: {}, was {"methods": ["*/list"]}',
        ),
        ({**SCAN, "match": {"methods": ["tools/call", "resources/read"]}}, SCAN, None),
        (
            {"use": "approve", "match": {"methods": "notifications/message"}},
            {"use": "approve", "match": {"methods": "*"}},
            'match: {"methods": ["*"]}, was {"methods": ["notifications/message"]}',
        ),
        ({"use": "sanitize"}, {"use": "sanitize", "remove": ["ansi"]}, 'remove: ["ansi"], was ["ansi", "bidi"'),
        (
            {"use": "flow", "sinks": [{"labels": ["public"]}]},
            {"use": "flow", "sinks": [{"labels": ["public"], "tools": "x"}]},
            "sinks: ",
        ),
        (
            {"use": "flow"},
            {"use": "flow", "sources": [{"server": "web", "labels": ["mine"]}]},
            '{"labels": ["mine"], "server": ["web"]} counts in place of the tools\' own hints',
        ),
        (
            {"use": "flow"},
            {"use": "flow", "sinks": [{"tools": "put", "labels": ["public"]}]},
            '{"labels": ["public"], "tools": ["put"]} counts in place of the tools\' own hints',
        ),
        (
            {"use": "flow"},
            {
                "use": "flow",
                "sources": [{"server": "web", "labels": ["untrusted"]}],
                "sinks": [{"server": "web", "labels": ["public"]}],
            },
            None,
        ),
        (
            {"use": "flow", "sources": [{"server": "web", "labels": ["mine"]}]},
            {
                "use": "flow",
                "sources": [
                    {"server": "web", "labels": ["mine"]},
                    {"server": "web", "tools": "get", "labels": ["private"]},
                ],
            },
            None,
        ),
        (
            {"use": "flow"},
            {"use": "flow", "forbid": [{"after": ["private"], "to": "public"}]},
            'forbid: [{"after": ["private"], "to": "public"}], was []',
        ),
        ({"use": "rules", "rules": [{"deny": "a"}]}, {"use": "rules", "rules": [{"deny": "b"}]}, "rules: "),
        ({"use": "rules", "rules": [{"deny": "a"}]}, {"use": "rules", "rules": [{"deny": "b"}, {"deny": "a"}]}, None),
        ({"use": "rules", "rules": [{"deny": "a"}]}, {"use": "rules", "rules": [{"deny": "a"}, {"allow": "c"}]}, None),
        (
            {"use": "rules", "rules": [{"deny": "a"}]},
            {"use": "rules", "rules": [{"allow": "c"}, {"deny": "a"}]},
            "rules: ",
        ),
        (
            {"use": "rules", "rules": [{"deny": "a"}]},
            {"use": "rules", "rules": [{"ask": "a"}, {"deny": "a"}]},
            "rules: ",
        ),
        (
            {"use": "rules", "rules": [{"ask": "a", "message": "It deletes"}]},
            {"use": "rules", "rules": [{"ask": "a", "message": "It is safe"}]},
            "rules: ",
        ),
        ({"use": "rules", "rules": [{"deny": "a", "message": "x"}]}, {"use": "rules", "rules": [{"deny": "a"}]}, None),
    ],
)
def test_an_interceptor_that_lets_more_through_needs_approval_and_a_stricter_one_none(
    before: dict[str, Any], now: dict[str, Any], said: str | None
) -> None:
    found = asked(governed(before), governed(now))

    assert [kind for kind, _, _ in found] == ([] if said is None else ["looser interceptors"])
    assert (said or "") in "".join(text for _, _, text in found)


def test_an_interceptor_that_is_gone_needs_approval_and_the_form_says_what_it_was() -> None:
    assert asked(governed(SCAN, PIN), governed(SCAN)) == [
        (
            "looser interceptors",
            "session-pin",
            'is gone\n{"key": "{owner}/{repo}", "match": {"server": ["github"]}, "use": "session-pin"}',
        )
    ]


def test_one_does_not_stand_for_two() -> None:
    other = {**PIN, "key": "{org}"}

    assert [subject for _, subject, _ in asked(governed(PIN, other), governed(other))] == ["session-pin"]
    assert asked(governed(PIN, other), governed(other, PIN, SCAN)) == [
        ("looser interceptors", "session-pin", "comes after session-pin now, and came before it")
    ]


def test_another_order_needs_approval_and_a_new_one_in_between_none() -> None:
    assert [text for _, _, text in asked(governed(SCAN, PIN), governed(PIN, SCAN))] == [
        "comes after session-pin now, and came before it"
    ]
    assert asked(governed(SCAN, PIN), governed({"use": "approve"}, SCAN, {"use": "sanitize"}, PIN)) == []


def test_a_new_hint_that_makes_a_tool_look_harmless_needs_approval_where_rules_may_go_by_it() -> None:
    approve = {"use": "approve", "match": {"annotations": {"destructiveHint": True}}}
    harmless = {"use": "annotate", "annotations": {"destructiveHint": False, "openWorldHint": True}}

    assert [text.splitlines()[0] for _, _, text in asked(governed(approve), governed(approve, harmless))] == [
        "gives tools destructiveHint, which rules may go by"
    ]
    assert (
        asked(governed(approve), governed(approve, {"use": "annotate", "annotations": {"readOnlyHint": False}})) == []
    )
    assert asked(governed(), governed(harmless)) == []
    imposed = {"provenance": Provenance(imposed=1)}
    assert [kind for kind, _, _ in asked(governed(approve, **imposed), governed(approve, harmless, **imposed))] == [
        "looser interceptors"
    ]


def test_the_same_server_under_a_name_that_no_rule_is_about_needs_approval() -> None:
    before = governed(NAMED)
    hub = {"image": "hub:2"}
    decoy = {"github": {"image": "other:1"}, "gh": hub}

    said = ("looser interceptors", "pin", "does not see server gh, which is the same as github (image hub)")
    assert asked(before, governed(NAMED, servers=decoy)) == [said]
    both = {**NAMED, "match": {"server": ["github", "gh"]}}
    assert asked(before, governed(both, servers=decoy)) == []
    weak = {**PIN, "name": "weak", "match": {"server": "gh"}, "action": "ask"}
    assert asked(before, governed(NAMED, weak, servers=decoy)) == [said]
    assert asked(before, governed(NAMED, {**weak, "action": "block"}, servers=decoy)) == []


def test_two_servers_that_change_names_need_approval_where_rules_are_about_one() -> None:
    before = governed(NAMED, servers={"github": {"image": "hub:1"}, "notes": {"image": "notes:1"}})
    swapped = governed(NAMED, servers={"github": {"image": "notes:1"}, "notes": {"image": "hub:1"}})

    assert asked(before, swapped) == [
        ("looser interceptors", "pin", "does not see server notes, which is the same as github (image hub)")
    ]
    assert asked(before, governed(NAMED, servers={"github": {"image": "hub:2"}, "notes": {"image": "notes:2"}})) == []


def test_a_server_does_not_lose_its_labels_by_another_name() -> None:
    labelled = {"use": "flow", "sources": [{"server": "github", "labels": ["private"]}]}
    other = {"server": "gh", "labels": ["untrusted", "mine"]}
    sinks = [{"server": "gh", "labels": ["public"]}]
    servers = {"github": {"image": "other:1"}, "gh": {"image": "hub:2"}}
    known = {**labelled, "sources": [*labelled["sources"], other], "sinks": sinks}

    assert [text for _, _, text in asked(governed(labelled), governed(known, servers=servers))] == [
        "does not see server gh, which is the same as github (image hub)"
    ]
    as_before = {**known, "sources": [*known["sources"], {"server": "gh", "labels": ["private"]}]}
    assert asked(governed(labelled), governed(as_before, servers=servers)) == []


def test_letting_requests_through_when_it_fails_needs_approval_from_the_beginning() -> None:
    (form,) = needed(governed({**SCAN, "on_failure": "allow"}))

    assert form.kind == "interceptor that may fail"
    assert form.text.splitlines() == [
        "lets requests through when it fails, is late, or answers nonsense",
        '{"on_failure": "allow", "use": "secret-scan"}',
    ]
    assert not form.once
    assert asked(governed({**SCAN, "on_failure": "allow"}), governed(SCAN)) == []


def test_no_audit_log_and_values_in_it_need_approval_from_the_beginning() -> None:
    assert [form.kind for form in needed(governed(audit=Audit(enabled=False)))] == ["no audit log"]
    assert [form.kind for form in needed(governed(audit=Audit(values="redacted")))] == ["audit log with values"]
    assert needed(governed()) == ()


def test_a_shorter_memory_needs_approval_and_a_longer_one_none() -> None:
    long = governed(session=Session(idle=3600), audit=Audit(sync="always"))
    short = governed(session=Session(idle=60), audit=Audit(keep=4))

    assert asked(long, short) == [
        (
            "shorter session",
            "session",
            "ends after 60 s of silence, was 3600 s: what was read, and pins, are forgotten then",
        ),
        (
            "looser audit log",
            "audit",
            "answers leave before their records are on disk\nkeeps at most 268435456 bytes of records, was 2147483648",
        ),
    ]
    assert asked(governed(audit=Audit(keep=4)), long) == []


def test_what_the_machine_imposes_is_neither_asked_for_nor_missed() -> None:
    machine = governed({**SCAN, "on_failure": "allow"}, PIN, provenance=Provenance(imposed=1))

    assert needed(machine) == ()
    assert asked(machine, governed(PIN)) == []


def test_a_baseline_of_before_there_were_interceptors_is_none_to_compare_with() -> None:
    baseline = rules(governed(SCAN))
    del baseline["governed"]

    assert needed(governed(), baseline) == ()


def test_an_entry_of_another_version_counts_as_gone() -> None:
    baseline = rules(governed({"use": "sanitize"}))
    baseline["governed"]["interceptors"] = [{"use": "of-the-future", "name": "mine"}]

    (form,) = needed(governed({"use": "sanitize"}), baseline)

    assert (form.subject, form.text) == ("mine", 'is gone\n{"name": "mine", "use": "of-the-future"}')


async def test_an_interceptor_that_somebody_takes_away_stays_until_it_is_approved(stage: Stage) -> None:
    stage.write(governed(PIN, SCAN, directory=stage.folder, servers={"github": {"image": "one:1"}}))
    assert (await stage.controller.apply()).ok
    stage.write(governed(SCAN, directory=stage.folder, servers={"github": {"image": "one:1"}}))

    await stage.controller.look()

    status = stage.controller.status()
    assert isinstance(status.problem, ApprovalNeeded)
    assert [form.kind for form in status.pending] == ["looser interceptors"]
    assert [one.use for one in stage.serving.declared[-1][0].interceptors] == ["session-pin", "secret-scan"]
    assert (await stage.apply_approved()).ok
    assert [one.use for one in stage.serving.declared[-1][0].interceptors] == ["secret-scan"]
