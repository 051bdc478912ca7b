"""Run a file of requests and expected decisions against the project's interceptors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpcompose.actions.locate import Place
from mcpcompose.errors import FileProblems, McpComposeError, Position, Problem

if TYPE_CHECKING:
    from mcpcompose.config.load import Loaded
    from mcpcompose.config.policy_test import Case, PolicyFile, Step
    from mcpcompose.gateway.rehearsal import Outcome, Rehearsal
    from mcpcompose.interceptors.base import Around
    from mcpcompose.spec.project import Project
    from mcpcompose.upstream.call import Reply


@dataclass(frozen=True, slots=True)
class Result:
    """Of one test; *failure* None is a pass, else what was expected and what came, and *position* where it stands."""

    name: str
    failure: str | None = None
    position: Position | None = None


def run_tests(place: Place, file: Path) -> list[Result]:
    """
    Run the tests of *file*. Raises `FileProblems`, and `ApprovalNeeded` for programs of interceptors: they are run,
    so they need approval as for `up`.
    """
    from mcpcompose.actions.config import load
    from mcpcompose.actions.direct import run
    from mcpcompose.config.policy_test import load_policy_tests

    loaded, tests = load(place), load_policy_tests(file)
    _check_names(loaded.project, tests)
    return run(lambda: _run(place, loaded, tests))


async def _run(place: Place, loaded: Loaded, tests: PolicyFile) -> list[Result]:
    from mcpcompose.gateway.rehearsal import Rehearsal

    around = await _around(place, loaded)
    results = []
    for index, case in enumerate(tests.tests.tests):
        rehearsal = Rehearsal(loaded.project, around, tests.tests.tools)
        try:
            if problems := rehearsal.problems():
                raise McpComposeError(f"an interceptor could not be made: {problems[0]}")
            results.append(await _case(loaded.project, rehearsal, case, index, tests))
        finally:
            await rehearsal.close()
    return results


async def _case(project: Project, rehearsal: Rehearsal, case: Case, index: int, tests: PolicyFile) -> Result:
    from mcpcompose.gateway.rehearsal import NOBODY

    client = (case.client or NOBODY) if case.token else None
    declared = project.clients.get(case.client or "")
    profile = case.profile or (declared.profile if declared is not None else "default")
    for number, step in enumerate(case.steps):
        method, server, name = step.target
        params: dict[str, Any] = {"uri": name} if method == "resources/read" else {"name": name}
        if method != "resources/read":
            params["arguments"] = step.arguments
        outcome = await rehearsal.request(
            client, profile, method, server, params, _answer(step), yes=step.answer == "yes"
        )
        wrong = next(_differences(step, outcome), None)
        if wrong is not None:
            where = f"step {number + 1} (`{server}/{name}`)"
            return Result(case.name, f"{where}: {wrong}", tests.position("tests", index, "steps", number))
    return Result(case.name)


def _answer(step: Step) -> Reply:
    from mcpcompose.upstream.call import Reply, failure

    if step.fails is not None:
        return failure(-32000, step.fails)
    result = step.returns
    if not isinstance(result, dict):
        text = "" if result is None else str(result)
        block = {"type": "text", "text": text}
        result = {
            "tools/call": {"content": [block]},
            "prompts/get": {"messages": [{"role": "user", "content": block}]},
            "resources/read": {"contents": [{"uri": step.target[2], "text": text}]},
        }[step.target[0]]
    return Reply(result=json.dumps(result, ensure_ascii=False).encode())


def _differences(step: Step, found: Outcome) -> Iterator[str]:
    """What is not as *step* expects, the most telling first."""
    refused = found.outcome in {"refused", "failed"}
    became = "asked" if found.questions else "denied" if refused else "allowed"
    expected = {"allow": "allowed", "deny": "denied", "ask": "asked"}[step.expect]
    told = "; ".join(_said(one) for one in found.decisions) or "no interceptor said anything"
    if became != expected:
        yield f"expected to be {expected}, but it was {became} ({told})"
    deciding = [one for one in found.decisions if step.by in {None, one.get("interceptor")}]
    if step.by is not None and not deciding:
        yield f"expected `{step.by}` to decide, but it did not ({told})"
    if step.rule is not None and not any(one.get("rule") == step.rule for one in deciding):
        yield f"expected the rule `{step.rule}` ({told})"
    client = json.dumps(json.loads(found.text() or "null"), ensure_ascii=False)
    if step.message is not None and step.message not in client:
        yield f"expected the client to be told `{step.message}`, but it was told `{client[:400]}`"
    arguments = (found.sent or {}).get("arguments")
    if step.sent is not None and arguments != step.sent:
        yield f"expected the server to get {step.sent}, but it got {arguments if found.sent is not None else 'nothing'}"
    server = json.dumps(found.sent, ensure_ascii=False)
    for text in step.absent:
        plain = json.dumps(text, ensure_ascii=False)[1:-1]
        if plain in client or plain in server:
            yield f"`{text}` was not taken out"


def _said(decision: Any) -> str:
    rule, note = decision.get("rule"), decision.get("note")
    return f"`{decision.get('interceptor')}` {decision.get('decision')}" + (
        f" by `{rule}`" if rule else ""
    ) + (f": {note}" if note else "")  # fmt: skip


def _check_names(project: Project, tests: PolicyFile) -> None:
    """A test about a server that is not there would be about nothing. Raises `FileProblems`."""
    problems = [
        _unknown("server", name, project.servers, tests.position("tools", name))
        for name in tests.tests.tools
        if name not in project.servers
    ]
    for index, case in enumerate(tests.tests.tests):
        at = ("tests", index)
        for kind, name, known, where in (
            ("client", case.client, project.clients, (*at, "client")),
            ("profile", case.profile, project.profiles, (*at, "profile")),
            *(("server", one.target[1], project.servers, (*at, "steps", n)) for n, one in enumerate(case.steps)),
        ):
            if name is not None and name not in known:
                problems.append(_unknown(kind, name, known, tests.position(*where)))
    if problems:
        raise FileProblems(tuple(problems))


def _unknown(kind: str, name: str, known: Iterable[str], where: Position | None) -> Problem:
    from mcpcompose.config.wording import closest

    close = closest(name, known)
    return Problem(
        f"there is no {kind} `{name}` in the project" + (f", did you mean `{close}`?" if close else ""), where
    )


async def _around(place: Place, loaded: Loaded) -> Around:
    from mcpcompose.actions.direct import place_of
    from mcpcompose.interceptors.base import Around
    from mcpcompose.orchestrator.interceptor_forms import interceptor_forms
    from mcpcompose.orchestrator.round import raise_pending, unapproved
    from mcpcompose.secrets.resolver import Resolver

    project, where = loaded.project, place_of(place)
    forms = {one.hash for one in interceptor_forms(project, loaded.variables)}
    if forms and (pending := tuple(one for one in await unapproved(loaded, where) if one.hash in forms)):
        raise_pending(pending)
    resolver = Resolver(
        project.secrets, loaded.variables, place.options.home, where.redactor,
        host=place.options.environ, directory=project.directory,
    )  # fmt: skip

    async def expand(owner: str, text: str) -> str:
        return await resolver.text(owner, text, loaded.variables)

    return Around(project, project.directory, where.redactor, loaded.variables, expand)
