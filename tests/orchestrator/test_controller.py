from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mcpcompose.engine.base import Endpoint, HttpEndpoint, ObservedState, StreamEndpoint, Values
from mcpcompose.engine.memory import MemoryEngine
from mcpcompose.errors import (
    DangerRefused,
    EngineUnreachable,
    FileProblems,
    ImageMissing,
    InstanceMissing,
    NameTaken,
    Position,
    Problem,
    SecretMissing,
    UsageError,
)
from mcpcompose.orchestrator.outcome import StepEvent
from mcpcompose.orchestrator.remotes import Remotes
from mcpcompose.orchestrator.requests import ApplyRequest
from mcpcompose.secrets.resolver import Resolver
from orchestrator.stage import STRANGER, Loaded, Stage, project

WEB = {"image": "two:1", "transport": {"http": {"port": 8080}}}


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110  the world has no event for this
            await asyncio.sleep(0.001)


@asynccontextmanager
async def kept(stage: Stage, changes: AsyncIterator[object] | None = None) -> AsyncIterator[None]:
    task = asyncio.create_task(stage.controller.run(changes))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_up_makes_servers_run_and_hands_their_endpoints_over(stage: Stage) -> None:
    stage.have(a="one:1", web=WEB)

    outcome = await stage.controller.apply()

    assert outcome.ok
    assert stage.running == {"team-a-1": 1, "team-web-1": 1}
    assert isinstance(stage.serving.endpoints["a"], StreamEndpoint)
    assert stage.serving.endpoints["web"] == HttpEndpoint("http://127.0.0.1:8080/mcp")
    assert stage.serving.story.index("a starting") < stage.serving.story.index("a attached")


async def test_up_again_with_nothing_changed_does_nothing(stage: Stage) -> None:
    stage.have(a="one:1", web=WEB)
    await stage.controller.apply()
    told = list(stage.serving.story)

    outcome = await stage.controller.apply()

    assert not outcome.plan
    assert stage.serving.story == told
    assert len(stage.serving.declared) <= 3


async def test_servers_are_declared_before_anything_starts_and_with_the_image_once_it_is_known(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    first, last = stage.serving.declared[0][1]["a"], stage.serving.declared[-1][1]["a"]

    await stage.fresh().apply()

    assert first != last
    assert stage.serving.declared[0][1]["a"] == last


async def test_a_changed_server_is_replaced_and_its_neighbour_never_touched(stage: Stage) -> None:
    stage.have(a="one:1", b="two:1")
    await stage.controller.apply()
    stage.have(a="one:2", b="two:1")

    await stage.controller.look()

    assert stage.running == {"team-a-1": 1, "team-b-1": 1}
    assert stage.world.instances["team-a-1"].spec.source.ref == "one:2"
    assert [line for line in stage.serving.story if line.startswith("b ")] == ["b starting", "b attached"]


async def test_a_server_that_is_removed_from_the_file_goes(stage: Stage) -> None:
    stage.have(a="one:1", web=WEB)
    await stage.controller.apply()
    stage.have(a="one:1")

    await stage.controller.look()

    assert stage.running == {"team-a-1": 1}
    assert not stage.world.networks
    assert stage.serving.states["web"] == "detached"


async def test_an_invalid_file_changes_nothing_and_its_problem_shows_until_it_is_mended(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    good = stage.loaded
    stage.loaded = FileProblems((Problem("unknown key `imgae`"),))

    for _ in range(3):
        await stage.controller.look()

    assert stage.running == {"team-a-1": 1}
    assert isinstance(stage.controller.status().problem, FileProblems)
    assert [record.message for record in caplog.records] == ["round not done"]

    stage.loaded = good
    await stage.controller.look()
    assert stage.controller.status().problem is None


async def test_while_the_file_is_wrong_the_last_good_state_is_still_healed(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    stage.loaded = FileProblems((Problem("tabs"),))
    await stage.engine.remove_instance("team-a-1")

    await stage.controller.look()

    assert stage.running == {"team-a-1": 1}
    assert stage.controller.status().problem is not None


async def test_up_with_an_invalid_file_raises_its_problems(stage: Stage) -> None:
    stage.loaded = FileProblems((Problem("no"),))

    with pytest.raises(FileProblems):
        await stage.controller.apply()


async def test_a_server_whose_image_does_not_exist_costs_only_itself(stage: Stage) -> None:
    stage.have(bad="nowhere:1", a="one:1")

    outcome = await stage.controller.apply()

    assert isinstance(outcome.errors["bad"], ImageMissing)
    assert list(outcome.errors) == ["bad"]
    assert stage.running == {"team-a-1": 1}
    assert stage.serving.states["bad"] == "failed: image `nowhere:1` does not exist; check its name"
    assert "bad" in stage.controller.status().errors


async def test_a_new_image_that_does_not_exist_leaves_the_old_instance_serving(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    stage.have(a="nowhere:1")

    outcome = await stage.controller.look()

    assert isinstance(outcome.errors["a"], ImageMissing)
    assert stage.running == {"team-a-1": 1}
    assert stage.serving.states["a"] == "attached"
    assert "a" in stage.controller.status().errors


async def test_a_server_that_failed_is_tried_again_later_and_at_once_when_somebody_asks(stage: Stage) -> None:
    stage.have(bad="nowhere:1")
    await stage.controller.apply()
    story = len(stage.serving.story)

    await stage.controller.look()
    assert len(stage.serving.story) == story

    stage.now += 6
    await stage.controller.look()
    assert len(stage.serving.story) == story + 2

    assert (await stage.controller.apply()).errors
    assert len(stage.serving.story) == story + 4


async def test_a_server_starts_after_those_it_depends_on_even_when_they_fail(stage: Stage) -> None:
    stage.have(a={"image": "one:1", "depends_on": ["b", "bad"]}, b="two:1", bad="nowhere:1")

    await stage.controller.apply()

    story = stage.serving.story
    assert story.index("b attached") < story.index("a attached")
    assert stage.running == {"team-a-1": 1, "team-b-1": 1}


async def test_down_leaves_nothing_and_nothing_comes_back_until_up(stage: Stage) -> None:
    stage.have(a={"image": "one:1", "volumes": ["data:/data"]}, web=WEB)
    await stage.controller.apply()

    await stage.controller.down()
    await stage.controller.look()

    assert not stage.world.instances
    assert not stage.world.networks
    assert list(stage.world.volumes) == ["team_data"]
    assert stage.serving.states == {"a": "stopped", "web": "stopped"}

    await stage.controller.down(volumes=True)
    assert not stage.world.volumes

    await stage.controller.apply()
    assert len(stage.running) == 2


async def test_down_of_a_project_that_this_process_never_brought_up_works(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()

    await stage.fresh().down()

    assert not stage.world.instances


async def test_a_stopped_server_stays_stopped_through_rounds_until_start(stage: Stage) -> None:
    stage.have(a="one:1", b="two:1")
    await stage.controller.apply()

    await stage.controller.stop(["a"])
    await stage.controller.look()
    assert stage.running == {"team-b-1": 1}
    assert stage.serving.states["a"] == "stopped"
    assert stage.controller.status().stopped == {"a"}
    with pytest.raises(InstanceMissing):
        await stage.controller.restart_instance("a")

    await stage.controller.start(["a"])
    assert stage.running == {"team-a-1": 2, "team-b-1": 1}


async def test_up_starts_what_was_stopped(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    await stage.controller.stop(["a"])

    await stage.controller.apply()

    assert stage.running == {"team-a-1": 2}


async def test_restart_starts_the_same_instance_again(stage: Stage) -> None:
    stage.have(a="one:1", b="two:1")
    await stage.controller.apply()

    outcome = await stage.controller.restart(["a"])

    assert str(outcome.plan) == "a: stop team-a-1 (restart asked for)\na: start team-a-1 (not running)"
    assert stage.running == {"team-a-1": 2, "team-b-1": 1}


async def test_an_unknown_server_is_named(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()

    with pytest.raises(UsageError, match="`nope`"):
        await stage.controller.restart(["nope"])


async def test_the_supervisor_gets_a_new_endpoint_for_an_instance_that_ended(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    await stage.world.crash("team-a-1")
    await stage.controller.look()
    assert stage.running == {}

    endpoint = await stage.controller.restart_instance("a")

    assert isinstance(endpoint, StreamEndpoint)
    assert stage.running == {"team-a-1": 2}


async def test_an_instance_that_somebody_removed_comes_back_by_itself(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()

    async with kept(stage):
        await asyncio.sleep(0)
        await stage.engine.remove_instance("team-a-1")
        await until(lambda: stage.running == {"team-a-1": 1})


async def test_any_number_of_triggers_during_a_round_make_one_more(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    held, loads = asyncio.Event(), 0

    async def load() -> object:
        nonlocal loads
        loads += 1
        await held.wait()
        return stage.loaded

    stage.controller._load = load
    async with kept(stage):
        stage.controller.wake()
        await until(lambda: loads == 1)
        for _ in range(20):
            stage.controller.wake()
        held.set()
        await until(lambda: loads == 2)
        for _ in range(50):
            await asyncio.sleep(0)
        assert loads == 2


async def test_a_changed_file_is_applied_by_itself(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    saved: asyncio.Queue[object] = asyncio.Queue()

    async def changes() -> AsyncIterator[object]:
        while True:
            yield await saved.get()

    async with kept(stage, changes()):
        stage.have(a="one:1", b="two:1")
        saved.put_nowait(None)
        await until(lambda: len(stage.running) == 2)


async def test_a_crashed_gateways_instances_are_adopted_and_its_strays_removed(stage: Stage) -> None:
    stage.have(a="one:1", web=WEB, gone="two:1")
    await stage.controller.apply()
    stage.have(a="one:1", web=WEB)

    outcome = await stage.fresh().apply()

    assert (
        str(outcome.plan)
        == """\
gone: stop team-gone-1 (no longer declared)
gone: remove team-gone-1 (no longer declared)
a: start team-a-1 (attach lost)
web: connect to team-web-1 (attach lost)"""
    )
    assert stage.running == {"team-a-1": 2, "team-web-1": 1}


async def test_another_owners_names_are_an_error_and_never_touched(stage: Stage) -> None:
    stage.have(a="one:1", web=WEB)
    await stage.controller.apply()
    before = dict(stage.running)
    stage.owner = STRANGER

    with pytest.raises(NameTaken, match="team-a-1") as caught:
        await stage.fresh().apply()
    await stage.controller.down()

    assert "--project-name" in str(caught.value.hint)
    assert stage.running == before


async def test_dangers_are_refused_before_the_engine_is_asked_anything(stage: Stage) -> None:
    stage.have(a={"image": "one:1", "privileged": True}, b={"image": "two:1", "volumes": ["/etc:/x"]})
    stage.fresh(MemoryEngine({}, reachable=lambda: False))

    with pytest.raises(DangerRefused) as caught:
        await stage.controller.apply()

    assert "`a`" in caught.value.message
    assert "`b`" in caught.value.message


async def test_missing_secrets_are_named_all_at_once_before_anything_starts(stage: Stage) -> None:
    sources = {"x": ({"environment": "NOT_X"},), "y": ({"file": "nowhere"},)}
    stage.write(
        project(
            stage.folder,
            servers={"a": {"image": "one:1", "secrets": ["x"]}, "b": {"image": "two:1", "secrets": ["x", "y"]}},
            secrets=sources,
        )
    )

    with pytest.raises(SecretMissing) as caught:
        await stage.controller.apply()

    assert caught.value.message == (
        "secret `x` of servers `a`, `b` is missing (environment variable `NOT_X`: not set)\n"
        f"secret `y` of server `b` is missing (file `{stage.folder}/nowhere`: no such file or directory)"
    )
    assert caught.value.hint == (f"set the environment variable `NOT_X`\nwrite the value to `{stage.folder}/nowhere`")
    assert not stage.world.instances


async def test_a_changed_secret_replaces_only_the_servers_that_use_it(stage: Stage) -> None:
    secret = stage.folder / "key"
    secret.write_text("first-value\n")
    stage.write(
        project(
            stage.folder,
            servers={"a": {"image": "one:1", "secrets": [{"source": "k", "env": "K"}]}, "b": {"image": "two:1"}},
            secrets={"k": ({"file": "key"},)},
        )
    )
    await stage.controller.apply()
    assert stage.world.instances["team-a-1"].console.values.environment == {"K": "first-value"}
    secret.write_text("second-value\n")

    outcome = await stage.controller.look()

    assert {step.server for step in outcome.plan.steps} == {"a"}
    assert outcome.plan.steps[0].cause == "secret changed"
    assert stage.world.instances["team-a-1"].console.values.environment == {"K": "second-value"}
    assert secret in stage.controller.files()
    assert "second-value" not in repr(stage.world.instances["team-a-1"].spec)


async def test_a_changed_variable_replaces_only_the_servers_that_use_it(stage: Stage) -> None:
    what = project(
        stage.folder, servers={"a": {"image": "one:1", "environment": {"X": "${X}"}}, "b": {"image": "two:1"}}
    )
    stage.write(what, {"X": "1"})
    await stage.controller.apply()
    stage.write(what, {"X": "2"})

    outcome = await stage.controller.look()

    assert {(step.server, step.cause) for step in outcome.plan.steps} == {("a", "environment changed")}


async def test_a_remote_server_whose_value_could_not_be_had_for_a_while_is_attached_again(stage: Stage) -> None:
    server = {"url": "https://mcp.example/mcp", "headers": {"X-Key": "${secret:k}"}}
    stage.write(project(stage.folder, servers={"r": server}, secrets={"k": ({"environment": "K"},)}), {"K": "one"})
    await stage.apply_approved()
    ready = stage.controller._good
    assert ready is not None
    remotes = Remotes(stage.serving)

    async def attach(variables: dict[str, str]) -> None:
        loaded = Loaded(ready.project, variables)
        resolver = Resolver(ready.project.secrets, variables, stage.folder, stage.redactor, host={})
        await remotes.acts(replace(ready, loaded=loaded, resolver=resolver), frozenset(), frozenset())["r"]()

    await attach({"K": "one"})
    with pytest.raises(SecretMissing):
        await attach({})
    assert stage.serving.states["r"].startswith("failed")
    await attach({"K": "one"})

    assert stage.serving.states["r"] == "attached"


async def test_a_remote_server_is_attached_with_its_header_values_and_again_when_they_change(stage: Stage) -> None:
    def remote(value: str) -> None:
        stage.write(
            project(
                stage.folder,
                servers={"r": {"url": "https://mcp.example/mcp", "headers": {"X-Key": "Bearer ${secret:k}"}}},
                secrets={"k": ({"environment": "K"},)},
            ),
            {"K": value},
        )

    remote("one-value")
    await stage.apply_approved()
    await stage.controller.look()
    assert stage.serving.story == ["r attached"]
    assert stage.serving.endpoints["r"] == HttpEndpoint("https://mcp.example/mcp", {"X-Key": "Bearer one-value"})

    remote("two-value")
    await stage.controller.look()
    assert stage.serving.story == ["r attached", "r detached", "r attached"]
    assert "two-value" not in repr(stage.serving.endpoints)
    assert await stage.controller.restart_instance("r") == stage.serving.endpoints["r"]

    await stage.controller.stop(["r"])
    assert stage.serving.states["r"] == "stopped"


async def test_a_preview_says_what_would_be_done_and_does_nothing(stage: Stage) -> None:
    stage.have(a="one:1")

    preview = await stage.controller.preview()

    assert "a: create team-a-1 (not there yet)" in str(preview.plan)
    assert not stage.world.instances
    assert not stage.serving.story
    assert stage.controller.status().project is None


async def test_an_engine_that_does_not_answer_is_a_problem_and_rounds_go_on_when_it_is_back(stage: Stage) -> None:
    stage.have(a="one:1")
    up = False
    stage.fresh(MemoryEngine(stage.programs, world=stage.world, reachable=lambda: up))

    with pytest.raises(EngineUnreachable):
        await stage.controller.apply()
    assert isinstance(stage.controller.status().problem, EngineUnreachable)

    up = True
    await stage.controller.look()
    assert stage.running == {"team-a-1": 1}
    assert stage.controller.status().problem is None


async def test_moving_to_another_engine_takes_down_what_runs_on_the_old_one(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    stage.engine = MemoryEngine(stage.programs)

    await stage.controller.apply()

    assert not stage.world.instances
    assert list(stage.engine.world.instances) == ["team-a-1"]
    await stage.controller.down()


async def test_the_old_engine_is_let_go_of_by_its_keeper(stage: Stage) -> None:
    gone: list[object] = []

    async def let_go(engine: object) -> None:
        gone.append(engine)

    first = stage.engine
    controller = stage.fresh(first, let_go=let_go)
    stage.have(a="one:1")
    await controller.apply()
    stage.engine = MemoryEngine(stage.programs)

    await controller.apply()

    assert gone == [first]
    await controller.down()


async def test_a_down_that_fails_leaves_the_rounds_to_go_on(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    reachable = stage.engine.observe

    async def unreachable(*_: object) -> ObservedState:
        raise EngineUnreachable("no engine answers")

    stage.engine.observe = unreachable
    with pytest.raises(EngineUnreachable):
        await stage.controller.down()
    stage.engine.observe = reachable
    await stage.engine.remove_instance("team-a-1")

    await stage.controller.look()

    assert list(stage.running) == ["team-a-1"]


async def test_what_a_round_of_its_own_did_is_in_the_log_with_its_cause(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    stage.have(a="one:1")
    await stage.controller.apply()
    assert "step done" not in caplog.messages

    stage.have(a="one:2")
    await stage.controller.look()

    steps = [record.fields for record in caplog.records if record.getMessage() == "step done"]
    assert {"server": "a", "step": "start team-a-1", "cause": "image changed"} in steps, steps


async def test_images_that_are_had_together_are_declared_together(stage: Stage) -> None:
    engine = MemoryEngine(stage.programs, world=stage.world)
    start = engine.start_instance

    async def like_a_container(name: str, values: Values) -> Endpoint:
        await asyncio.sleep(0.05)
        return await start(name, values)

    engine.start_instance = like_a_container
    controller = stage.fresh(engine)
    stage.have(**{f"s{number}": "one:1" for number in range(8)})

    await controller.apply()

    last = stage.serving.declared[-1][1]
    assert len(set(last.values())) == 1
    assert last != stage.serving.declared[0][1]
    assert len(stage.serving.declared) <= 3


async def test_every_step_is_told_with_its_server(stage: Stage) -> None:
    stage.have(a="one:1", bad="nowhere:1")
    events: list[StepEvent] = []

    await stage.controller.apply(on_event=events.append)

    told = [(event.server, event.text, event.state) for event in events]
    assert ("a", "start team-a-1", "done") in told
    assert ("bad", "get image nowhere:1", "failed") in told


async def test_pull_has_the_image_anew_and_replaces_nothing_when_it_is_the_same(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()

    await stage.controller.apply(ApplyRequest(refresh=True))

    assert stage.world.pulls == ["one:1", "one:1"]
    assert stage.running == {"team-a-1": 1}


async def test_two_ups_at_once_make_everything_once(stage: Stage) -> None:
    stage.have(a="one:1", b="two:1")

    await asyncio.gather(*(stage.controller.apply() for _ in range(5)))

    assert stage.running == {"team-a-1": 1, "team-b-1": 1}


async def test_a_project_that_gets_another_name_leaves_nothing_under_the_old_one(stage: Stage) -> None:
    stage.have(a="one:1", web=WEB)
    await stage.controller.apply()
    stage.write(project(stage.folder, name="renamed", servers={"a": {"image": "one:1"}}))

    await stage.controller.look()

    assert stage.running == {"renamed-a-1": 1}
    assert not stage.world.networks
    assert not (await stage.fresh().apply()).errors
    assert list(stage.world.instances) == ["renamed-a-1"]


async def test_a_name_that_is_taken_by_somebody_else_leaves_the_last_good_state_running(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    other = Stage(stage.folder, owner=STRANGER)
    other.world = stage.world
    other.fresh()
    other.write(project(stage.folder, name="taken", servers={"a": {"image": "two:1"}}))
    await other.controller.apply()
    before = dict(stage.running)
    stage.write(project(stage.folder, name="taken", servers={"a": {"image": "one:1"}}))

    await stage.controller.look()

    assert stage.running == before
    assert isinstance(stage.controller.status().problem, NameTaken)
    assert stage.controller.status().project.name == "team"


async def test_a_new_file_with_a_mistake_in_it_is_watched_too(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()
    included = stage.folder / "included.yaml"
    stage.loaded = FileProblems((Problem("tabs", Position(included, 1, 1)),))

    await stage.controller.look()

    assert included in stage.controller.files()


async def test_an_engine_that_is_gone_for_many_rounds_is_logged_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    up = True
    stage.fresh(MemoryEngine(stage.programs, world=stage.world, reachable=lambda: up))
    stage.have(a="one:1")
    await stage.controller.apply()
    up = False

    for _ in range(3):
        await stage.controller.look()

    assert [record.message for record in caplog.records] == ["round not done"]
    assert isinstance(stage.controller.status().problem, EngineUnreachable)


async def test_up_of_a_server_that_is_not_declared_is_an_error(stage: Stage) -> None:
    stage.have(a="one:1")

    with pytest.raises(UsageError, match="`nope`"):
        await stage.controller.apply(ApplyRequest(servers=frozenset({"nope"})))
