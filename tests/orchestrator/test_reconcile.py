from __future__ import annotations

from dataclasses import replace
from typing import Any

from mcpcompose.engine.base import ObservedInstance, ObservedState
from mcpcompose.orchestrator.reconcile import reconcile, teardown
from mcpcompose.spec.project import Project
from orchestrator.stage import after_up, servers, wanted

HTTP = {"image": "web:1", "transport": {"http": {"port": 8080}}}


def plan(before: ObservedState, after: Project, **keys: Any) -> str:
    return str(reconcile(wanted(after), before, **keys))


def test_a_first_up_makes_everything_with_its_cause() -> None:
    first = servers(db={"image": "db:1", "volumes": ["data:/data"]}, web=HTTP)

    assert (
        plan(ObservedState(), first)
        == """\
create volume team_data (not there yet)
db: get image db:1 (image not there yet)
db: create team-db-1 (not there yet)
db: start team-db-1 (not there yet)
web: get image web:1 (image not there yet)
web: create network team-web (not there yet)
web: create team-web-1 (not there yet)
web: start team-web-1 (not there yet)"""
    )


def test_an_unchanged_file_plans_nothing() -> None:
    same = servers(db={"image": "db:1", "volumes": ["data:/data"]}, web=HTTP)

    assert plan(after_up(same), same) == ""
    assert not reconcile(wanted(same), after_up(same))


def test_a_changed_image_replaces_only_the_server_that_changed() -> None:
    before = after_up(servers(db="db:1", api="api"))

    assert (
        plan(before, servers(db="db:2", api="api"))
        == """\
db: get image db:2 (image changed)
db: stop team-db-1 (image changed)
db: remove team-db-1 (image changed)
db: create team-db-1 (image changed)
db: start team-db-1 (image changed)"""
    )


def test_each_kind_of_change_has_its_own_cause() -> None:
    changes = {
        "command": {"command": ["x"]},
        "environment": {"environment": {"A": "1"}},
        "mounts": {"volumes": ["./data:/data"]},
        "limits": {"mem_limit": "5m"},
        "settings": {"user": "1000"},
        "secret": {"secrets": ["s"]},
        "network": {"network": "isolated"},
    }
    for cause, keys in changes.items():
        found = reconcile(wanted(servers(db={"image": "db:1", **keys})), after_up(servers(db="db:1")))
        assert found.steps[0].cause == f"{cause} changed"


def test_several_changes_are_all_named() -> None:
    found = reconcile(wanted(servers(db={"image": "db:2", "environment": {"A": "1"}})), after_up(servers(db="db:1")))
    assert found.steps[0].cause == "image and environment changed"


def test_a_changed_value_replaces_the_servers_that_use_it_and_says_what_kind_it_is() -> None:
    what = servers(a="a:1", b="b:1")
    before = after_up(what, keyed={"a": ("v1", "s1"), "b": ("v1", "s1")})
    now = wanted(what, keyed={"a": ("v1", "s2"), "b": ("v1", "s1")})

    steps = reconcile(now, before).steps

    assert {step.server for step in steps} == {"a"}
    assert steps[0].cause == "secret changed"


def test_an_image_that_was_pulled_anew_replaces_its_instances() -> None:
    what = servers(db="db:1")
    before = after_up(what)
    stale = replace(before, instances=tuple(replace(i, image_id="older") for i in before.instances))

    assert reconcile(wanted(what), stale).steps[0].cause == "image changed"


def test_what_is_no_longer_declared_goes_first() -> None:
    before = after_up(servers(old=HTTP, db="db:1"))

    assert plan(before, servers(db="db:2")).splitlines()[:3] == [
        "old: stop team-old-1 (no longer declared)",
        "old: remove team-old-1 (no longer declared)",
        "old: remove network team-old (no longer declared)",
    ]


def with_second(what: Project) -> ObservedState:
    before = after_up(what)
    second = replace(before.instances[0], name="team-db-2")
    return replace(before, instances=(*before.instances, second))


def test_a_second_instance_of_a_server_that_nobody_holds_is_a_stray() -> None:
    what = servers(db="db:1")

    assert (
        plan(with_second(what), what)
        == """\
db: stop team-db-2 (left by an interrupted run)
db: remove team-db-2 (left by an interrupted run)"""
    )


def test_a_second_instance_that_is_held_is_left_alone() -> None:
    what = servers(db="db:1")

    assert plan(with_second(what), what, held=frozenset({"team-db-2"})) == ""


def test_a_second_instance_that_is_held_goes_with_a_change_of_its_server() -> None:
    before = with_second(servers(db="db:1"))

    assert plan(before, servers(db="db:2"), held=frozenset({"team-db-2"})).splitlines()[:2] == [
        "db: stop team-db-2 (image changed)",
        "db: remove team-db-2 (image changed)",
    ]
    assert plan(before, servers(), held=frozenset({"team-db-2"})).splitlines()[2:] == [
        "db: stop team-db-2 (no longer declared)",
        "db: remove team-db-2 (no longer declared)",
    ]
    assert (
        plan(before, servers(db="db:1"), held=frozenset({"team-db-2"}), stopped=frozenset({"db"}))
        == """\
db: stop team-db-2 (stopped on purpose)
db: remove team-db-2 (stopped on purpose)
db: stop team-db-1 (stopped on purpose)"""
    )


def test_a_server_that_rests_is_as_it_is_to_be_until_it_changes() -> None:
    what = servers(db="db:1")
    before = after_up(what, running=False)

    assert plan(before, what, resting=frozenset({"db"})) == ""
    assert "start team-db-1" in plan(before, servers(db="db:2"), resting=frozenset({"db"}))


def test_named_volumes_stay_when_nobody_declares_them() -> None:
    before = after_up(servers(db={"image": "db:1", "volumes": ["data:/data"]}))

    assert "volume" not in plan(before, servers(db="db:1"))


def test_a_running_http_instance_of_an_earlier_run_is_connected_to() -> None:
    what = servers(web=HTTP)

    assert plan(after_up(what, attached=False), what) == "web: connect to team-web-1 (attach lost)"


def test_a_running_stdio_instance_that_nobody_holds_is_restarted_in_place() -> None:
    what = servers(db="db:1")

    assert plan(after_up(what, attached=False), what) == "db: start team-db-1 (attach lost)"


def test_a_stopped_instance_is_started() -> None:
    what = servers(db="db:1")

    assert plan(after_up(what, running=False), what) == "db: start team-db-1 (not running)"


def test_an_instance_that_ended_by_itself_is_left_to_the_supervisor() -> None:
    what = servers(db="db:1")

    assert plan(after_up(what, running=False), what, unattended=frozenset({"db"})) == ""


def test_an_instance_whose_stream_ended_just_before_the_engine_noticed_is_left_to_the_supervisor() -> None:
    what = servers(db="db:1")

    assert plan(after_up(what, attached=False), what, unattended=frozenset({"db"})) == ""


def test_a_server_stopped_on_purpose_is_stopped_and_stays_so() -> None:
    what = servers(db="db:1", api="api")

    assert plan(after_up(what), what, stopped=frozenset({"db"})) == "db: stop team-db-1 (stopped on purpose)"
    assert plan(after_up(what, running=False), what, stopped=frozenset({"db", "api"})) == ""
    assert plan(ObservedState(), what, stopped=frozenset({"db", "api"})) == ""


def test_a_network_left_alone_by_an_interrupted_run_is_made_anew() -> None:
    what = servers(web=HTTP)

    assert (
        plan(ObservedState(networks=("team-web",), images=(("web:1", "x"),)), what)
        == """\
web: remove network team-web (left by an interrupted run)
web: create network team-web (not there yet)
web: create team-web-1 (not there yet)
web: start team-web-1 (not there yet)"""
    )


def test_a_network_that_gets_a_way_out_is_made_anew() -> None:
    before = after_up(servers(web=HTTP))

    assert (
        plan(before, servers(web={**HTTP, "network": "open"}))
        == """\
web: stop team-web-1 (network changed)
web: remove team-web-1 (network changed)
web: remove network team-web (network changed)
web: create network team-web (network changed)
web: create team-web-1 (network changed)
web: start team-web-1 (network changed)"""
    )


def test_a_network_that_is_gone_brings_its_server_back() -> None:
    what = servers(web=HTTP)

    assert reconcile(wanted(what), replace(after_up(what), networks=())).steps[0].cause == "network changed"


def test_a_changed_image_keeps_the_network() -> None:
    steps = plan(after_up(servers(web=HTTP)), servers(web={**HTTP, "image": "web:2"}))

    assert "network" not in steps


def test_only_leaves_every_other_server_and_strays_alone() -> None:
    before = after_up(servers(old="old", a="a:1", b="b:1"))

    found = reconcile(wanted(servers(a="a:2", b="b:2")), before, only=frozenset({"a"}))

    assert {step.server for step in found.steps} == {"a"}


def test_pull_policies_are_kept() -> None:
    always = servers(db={"image": "db:1", "pull_policy": "always"})
    never = servers(db={"image": "db:1", "pull_policy": "never"})

    assert "db: refresh image db:1 (pull policy is always)" in plan(ObservedState(images=(("db:1", "x"),)), always)
    assert plan(after_up(always), always) == ""
    assert "image" not in plan(ObservedState(), never)


def test_refresh_has_images_anew_without_touching_instances() -> None:
    what = servers(db="db:1")

    assert plan(after_up(what), what, refresh=frozenset({"db"})) == "db: refresh image db:1 (asked for)"


def test_a_server_waits_for_those_it_depends_on() -> None:
    found = reconcile(wanted(servers(a={"image": "a:1", "depends_on": ["b"]}, b="b:1")), ObservedState())

    assert found.after == (("a", ("b",)),)


def test_a_host_command_gets_no_network() -> None:
    found = wanted(servers(a={"process": ["x"], "transport": {"http": {"port": 1}}, "network": "isolated"}))

    assert found.networks == ()
    assert found.instances[0].network == "none"


def test_a_label_of_another_version_is_replaced() -> None:
    old = ObservedInstance("team-db-1", "db", "0.abc", running=False, attached=False)

    assert (
        plan(ObservedState(instances=(old,), images=(("db:1", "x"),)), servers(db="db:1"))
        == """\
db: remove team-db-1 (definition changed)
db: create team-db-1 (definition changed)
db: start team-db-1 (definition changed)"""
    )


def test_down_removes_everything_and_keeps_volumes_unless_asked() -> None:
    before = after_up(servers(db={"image": "db:1", "volumes": ["data:/data"]}, web=HTTP))

    assert (
        str(teardown(before, volumes=False))
        == """\
db: stop team-db-1 (down)
db: remove team-db-1 (down)
web: stop team-web-1 (down)
web: remove team-web-1 (down)
web: remove network team-web (down)"""
    )
    assert str(teardown(before, volumes=True)).endswith("\nremove volume team_data (down)")


def test_plans_hold_references_and_no_values() -> None:
    what = servers(db={"image": "db:1", "environment": {"TOKEN": "${secret:t}", "USER": "${USER}"}, "secrets": ["t"]})

    text = repr(reconcile(wanted(what, keyed={"db": ("v", "s")}), ObservedState()))

    assert "${secret:t}" in text
    assert "${USER}" in text
