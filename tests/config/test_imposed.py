"""Interceptors that a project cannot take away: those of the machine's policy, and its words on the log."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcpcompose.config.load import Loaded, Request, load
from mcpcompose.config.machine import Machine
from mcpcompose.errors import FileProblems

OWN = "servers: {a: {image: x}}\ninterceptors: [{use: sanitize, name: own}]\n"


@dataclass
class Scene:
    """A project's folder, and a machine's policy beside it."""

    folder: Path

    def load(self, policy: str, project: str = OWN, **files: str) -> Loaded:
        machine = Machine(self.folder / "etc/policy.yaml", owner=os.getuid(), above=self.folder)
        machine.file.parent.mkdir(exist_ok=True, mode=0o755)
        machine.file.write_text(policy)
        directory = self.folder / "project"
        for name, text in {"mcp-compose_yaml": project, **files}.items():
            path = directory / name.replace("_yaml", ".yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        given = tuple(directory / name.replace("_yaml", ".yaml") for name in ("mcp-compose_yaml", *files))
        return load(Request(files=given, directory=directory, environ={}, home=self.folder / "home", machine=machine))

    def problems(self, policy: str, project: str = OWN) -> list[str]:
        with pytest.raises(FileProblems) as caught:
            self.load(policy, project)
        return [f"{p.position}".removeprefix(f"{self.folder}/") + f" {p.message}" for p in caught.value.problems]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def labels(loaded: Loaded) -> list[str]:
    return [one.label for one in loaded.project.interceptors]


def test_those_of_the_machine_are_outermost_and_known_as_its_own(scene: Scene) -> None:
    loaded = scene.load("interceptors: [{use: secret-scan}, {use: approve, match: {server: elsewhere}}]\n")

    assert labels(loaded) == ["secret-scan", "approve", "own"]
    assert loaded.project.provenance.imposed == 2
    assert str(loaded.origin("interceptors.0").position).endswith("etc/policy.yaml:1:16")
    assert loaded.project.policy is None


def test_no_file_of_a_project_takes_them_away(scene: Scene) -> None:
    policy = "interceptors: [{use: secret-scan}]\n"

    assert labels(scene.load(policy, OWN, more_yaml="interceptors: !reset\n")) == ["secret-scan"]
    assert labels(scene.load(policy, "!reset\nservers: {}\n")) == ["secret-scan"]
    assert labels(scene.load(policy, "servers: {}\ninterceptors:\n")) == ["secret-scan"]


def test_what_it_says_of_sessions_and_the_log_is_not_said_otherwise(scene: Scene) -> None:
    policy = "session: {idle: 2h}\naudit: {enabled: true, sync: always}\n"
    loaded = scene.load(policy, f"{OWN}audit: {{keep: 3, sync: always}}\n")

    assert loaded.project.session.idle == 7200
    assert (loaded.project.audit.sync, loaded.project.audit.keep) == ("always", 3)
    said = f"is set by the machine's policy (`{scene.folder}/etc/policy.yaml`)"
    assert scene.problems(policy, f"{OWN}session: {{idle: 60s}}\naudit: {{enabled: false, keep: 1}}\n") == [
        f"project/mcp-compose.yaml:3:11 `session.idle` {said}",
        f"project/mcp-compose.yaml:4:9 `audit.enabled` {said}",
    ]


def test_nothing_in_it_is_made_of_a_projects_variables_or_secrets(scene: Scene) -> None:
    assert scene.problems("interceptors:\n  - url: https://${HOST}\n    headers: {A: '$${secret:s} $X'}\n") == [
        "etc/policy.yaml:2:10 the machine's policy is written out: nothing is put in the place of a `$` here",
        "etc/policy.yaml:3:18 the machine's policy is written out: nothing is put in the place of a `$` here",
    ]
    loaded = scene.load("interceptors: [{use: secret-scan, allow: [{matching: 'a$$'}]}]\n")
    assert loaded.project.interceptors[0].allow[0].matching == "a$"


def test_it_uses_no_secrets_of_a_project(scene: Scene) -> None:
    project = f"{OWN}secrets: {{s: {{environment: S}}}}\n"

    assert scene.problems("interceptors: [{run: [x], secrets: [{source: s, env: S}]}]\n", project) == [
        "etc/policy.yaml:1:27 the machine's policy has no secrets: those of a project are the project's"
    ]


@pytest.mark.parametrize(
    ("imposed", "is_refused"),
    [
        ("{use: approve}", True),
        ("{use: flow}", True),
        ("{run: [check]}", True),
        ("{use: secret-scan, match: {annotations: {destructiveHint: true}}}", True),
        ("{use: secret-scan}", False),
    ],
)
def test_no_project_makes_tools_look_harmless_to_it(scene: Scene, imposed: str, is_refused: bool) -> None:
    policy = f"interceptors: [{imposed}]\n"
    project = "servers: {}\ninterceptors:\n  - {use: annotate, annotations: {destructiveHint: HARMLESS}}\n"

    if is_refused:
        said = "`destructiveHint: false` is for the machine's policy to say, whose interceptors go by hints"
        assert scene.problems(policy, project.replace("HARMLESS", "false")) == [f"project/mcp-compose.yaml:3:35 {said}"]
    else:
        assert labels(scene.load(policy, project.replace("HARMLESS", "false")))[1:] == ["annotate"]
    assert labels(scene.load(policy, project.replace("HARMLESS", "true")))[1:] == ["annotate"]


def test_programs_of_it_run_in_its_own_folder(scene: Scene) -> None:
    loaded = scene.load("interceptors: [{run: [./check]}]\n")

    assert loaded.project.interceptors[0].working_dir == str(scene.folder / "etc")


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("interceptors: {use: secret-scan}\n", "1:1 `interceptors` of the machine's policy must be a list"),
        ("audit: [x]\n", "1:1 `audit` of the machine's policy must be a mapping"),
        ("interceptors: [{use: secret-scam}]\n", "1:22 `use` cannot be `secret-scam`, did you mean `secret-scan`?"),
        ("audit: {enabeld: true}\n", "1:9 unknown key `enabeld`, did you mean `enabled`?"),
        ("intercepters: []\n", "1:1 unknown key `intercepters` in the machine's policy"),
        ("interceptors: [{use: session-pin}]\n", "1:16 `use: session-pin` needs `key`"),
    ],
)
def test_a_broken_one_lets_nothing_load(scene: Scene, policy: str, said: str) -> None:
    assert f"etc/policy.yaml:{said}" in scene.problems(policy)


def test_a_container_of_an_interceptor_is_named_by_its_digest_where_the_policy_wants_that(scene: Scene) -> None:
    digest = "sha256:" + "a" * 64
    asked = "policy: {images: {require: digest}}\n"
    pinned = f"servers: {{a: {{image: 'x@{digest}'}}}}\ninterceptors: [{{image: 'check@{digest}'}}]\n"

    assert labels(scene.load(asked, pinned)) == ["image"]
    (problem,) = scene.problems(asked, pinned.replace(f"check@{digest}", "check:1"))
    assert problem.startswith("project/mcp-compose.yaml:2:24 `check:1` is not named by its digest")
