"""What is served before the engine has answered: lists of last time, for servers that are written as they were then."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mcpcompose.engine.base import ObservedState
from mcpcompose.engine.memory import MemoryEngine
from mcpcompose.errors import ApprovalNeeded, EngineUnreachable, McpComposeError
from mcpcompose.orchestrator.controller import Controller
from mcpcompose.spec.identity import Owner
from mcpcompose.spec.project import Project
from orchestrator.stage import Stage


class Away(MemoryEngine):
    """An engine that does not answer."""

    async def observe(self, owner: Owner, names: frozenset[str], images: frozenset[str]) -> ObservedState:
        raise EngineUnreachable("nobody is there")


def away(stage: Stage) -> Controller:
    """The next gateway process, on a day when the engine does not answer."""
    stage.engines_used.clear()
    return stage.fresh(Away(stage.programs, world=stage.world))


async def test_lists_of_before_are_served_before_the_engine_has_answered_and_nothing_else_is_done(stage: Stage) -> None:
    stage.have(a="one:1", b="two:1")
    await stage.controller.apply()
    before = stage.serving.declared[-1]

    with pytest.raises(EngineUnreachable):
        await away(stage).apply()

    assert stage.serving.declared == [before]
    assert not stage.serving.story
    assert not stage.engines_used


async def test_a_start_that_finds_everything_as_it_was_declares_it_once(stage: Stage) -> None:
    stage.have(a="one:1")
    await stage.controller.apply()

    await stage.fresh().apply()

    assert len(stage.serving.declared) == 1
    assert stage.engines_used == [stage.controller.status().project.engine] * 2


async def test_an_image_that_became_another_meanwhile_is_corrected_when_the_engine_has_answered(stage: Stage) -> None:
    stage.have(a="one:1", b="two:1")
    await stage.controller.apply()
    before = stage.serving.declared[-1][1]
    stage.world.images["one:1"] = "sha256:another"

    await stage.fresh().apply()

    believed, corrected = (prints for _, prints in stage.serving.declared)
    assert believed == before
    assert corrected["a"] != before["a"]
    assert corrected["b"] == before["b"]


@pytest.mark.parametrize(
    "changed", [{"image": "one:2"}, {"image": "one:1", "command": ["x"]}, {"image": "one:1", "environment": {"A": "1"}}]
)
async def test_a_server_that_is_written_otherwise_is_not_what_it_was(stage: Stage, changed: dict[str, object]) -> None:
    stage.have(a="one:1", b="two:1")
    await stage.controller.apply()
    before = stage.serving.declared[-1][1]
    stage.have(a=changed, b="two:1")

    with pytest.raises(EngineUnreachable):
        await away(stage).apply()

    ((_, prints),) = stage.serving.declared
    assert prints["b"] == before["b"]
    assert prints["a"] not in before.values()


async def test_a_build_of_other_things_is_not_what_it_was(stage: Stage) -> None:
    context = stage.folder / "image"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\n")
    stage.programs = {**stage.programs, "build:image": stage.programs["one:1"]}
    stage.fresh()
    stage.have(a={"build": "./image"})
    await stage.apply_approved()
    (context / "Dockerfile").write_text("FROM scratch\nLABEL other=1\n")
    controller = away(stage)

    with pytest.raises(ApprovalNeeded) as needed:
        await controller.apply()
    assert not stage.serving.declared, "what nobody approved is not even listed"
    stage.approvals.approve(stage.controller.status().pending)
    with pytest.raises(EngineUnreachable):
        await controller.apply()

    assert needed.value.hashes
    assert not stage.serving.declared, "nothing is known of what is built now"


async def test_what_could_not_be_declared_is_declared_by_the_next_up(stage: Stage) -> None:
    stage.have(a="one:1")
    serving = stage.serving
    refused: list[Project] = []

    def refuse_once(project: Project, fingerprints: Mapping[str, str], written: object) -> None:
        if not refused:
            refused.append(project)
            raise McpComposeError("port `1` is taken by another program")
        serving.story.append("declared")

    stage.serving.declare = refuse_once  # type: ignore[method-assign]

    with pytest.raises(McpComposeError, match="taken"):
        await stage.controller.apply()
    await stage.controller.apply()

    assert serving.story[:2] == ["declared", "a starting"]
