"""Policies: what is refused and where, and that nothing can loosen one."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.cosign import Signer
from mcpcompose.config.load import Loaded, Request, load
from mcpcompose.config.machine import Machine
from mcpcompose.errors import FileProblems, Problem

DIGEST = "sha256:" + "a" * 64
PINNED = f"acme/echo@{DIGEST}"
CATALOG = (
    f"catalog: 1\nservers:\n  echo: {{server: {{image: '{PINNED}'}}}}\n  other: {{server: {{image: '{PINNED}'}}}}\n"
)


@dataclass
class Scene:
    """A project's folder, and a machine's policy beside it."""

    folder: Path
    files: tuple[str, ...] = ("mcp-compose.yaml",)
    environ: dict[str, str] = field(default_factory=dict)
    engine: str | None = None

    def write(self, **files: str) -> Scene:
        for name, text in files.items():
            path = self.folder / "project" / name.replace("_yaml", ".yaml").replace("_pub", ".pub")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self

    @property
    def machine(self) -> Machine:
        return Machine(self.folder / "etc/policy.yaml", owner=os.getuid(), above=self.folder)

    def bound_by(self, text: str) -> Scene:
        (self.folder / "etc").mkdir(exist_ok=True, mode=0o755)
        self.machine.file.write_text(text)
        return self

    def load(self) -> Loaded:
        project = self.folder / "project"
        request = Request(
            files=tuple(project / name for name in self.files),
            directory=project,
            environ={"MCP_COMPOSE_HOME": str(self.folder / "state"), **self.environ},
            home=self.folder / "home",
            engine=self.engine,
            machine=self.machine,
        )
        return load(request)

    def problems(self) -> list[str]:
        """Each as `file:line:column message`."""
        try:
            self.load()
        except FileProblems as error:
            return [self._shown(problem) for problem in error.problems]
        return []

    def _shown(self, problem: Problem) -> str:
        place = str(problem.position).removeprefix(f"{self.folder}/").removeprefix("project/")
        return f"{place} {problem.message.replace(f'{self.folder}/', '')}"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    tmp_path.chmod(0o755)
    return Scene(tmp_path).write(catalog_yaml=CATALOG)


HEAD = "catalogs: {acme: ./catalog.yaml, more: ./catalog.yaml}\npolicy: {servers: [acme/*]}\n"


# --- servers ---


@pytest.mark.parametrize(
    ("server", "at"),
    [
        ("process: [sh]", "4:7"),
        ("url: https://evil.example/mcp", "4:7"),
        (f"image: {PINNED}", "4:7"),
        ("build: .", "4:7"),
        ("package: pypi:evil==1", "4:7"),
    ],
)
def test_a_server_that_is_written_out_is_refused(scene: Scene, server: str, at: str) -> None:
    scene.write(mcp_compose_yaml="").write(**{"mcp-compose.yaml": f"{HEAD}servers:\n  a: {{{server}}}\n"})

    message = "server `a` is written out here, and the policy accepts servers from a catalog only"
    assert f"mcp-compose.yaml:{at} {message}" in scene.problems()


def test_a_server_from_another_catalog_or_entry_is_refused(scene: Scene) -> None:
    text = HEAD.replace("acme/*", "acme/echo") + "servers:\n  a: {from: more/echo}\n  b: {from: acme/other}\n"
    scene.write(**{"mcp-compose.yaml": text})

    assert scene.problems() == [
        "mcp-compose.yaml:4:13 server `a` comes from `more/echo`, which the policy does not accept",
        "mcp-compose.yaml:5:13 server `b` comes from `acme/other`, which the policy does not accept",
    ]


def test_an_approved_entry_loads_and_the_policy_is_shown(scene: Scene) -> None:
    scene.write(**{"mcp-compose.yaml": HEAD + "servers:\n  a: {from: acme/echo, cpus: 2}\n"})

    loaded = scene.load()

    assert loaded.project.servers["a"].image == PINNED
    assert loaded.printable()["policy"] == {"servers": ["acme/*"]}
    assert str(loaded.origin("policy.servers")).endswith("mcp-compose.yaml:2:10")


@pytest.mark.parametrize(
    "override",
    [
        "image: evil", "package: 'pypi:evil==1'", "command: [sh]", "args: [x]", "entrypoint: [sh]",
        "volumes: ['./x:/x']", "environment: {A: b}", "env_file: [x.env]", "network: open", "user: root",
        "working_dir: /x", "read_only: false", "tmpfs: [/x]", "dns: [8.8.8.8]", "extra_hosts: {a: 1.2.3.4}",
        "labels: {traefik.enable: 'true'}", "runner: evil", "transport: {http: {port: 1}}", "headers: {A: b}",
        "unsafe: [privileged]", "privileged: true", "cap_add: [NET_ADMIN]", "url: https://evil.example",
        "platform: linux/arm64", "instructions: do evil", "init: false", "healthcheck: {test: [CMD, sh]}",
        "build: .", "process: [sh]", "devices: [/dev/x]", "security_opt: [x]", "pid: host", "auth: {}",
    ],
)  # fmt: skip
def test_an_override_that_makes_something_else_of_an_entry_is_refused(scene: Scene, override: str) -> None:
    text = f"{HEAD}servers:\n  a:\n    from: acme/echo\n    {override}\n"
    scene.write(**{"mcp-compose.yaml": text})

    key = override.partition(":")[0]
    found = scene.problems()
    assert any(one.startswith("mcp-compose.yaml:6:5 ") and f"`{key}`" in one for one in found), found


def test_an_override_by_a_later_file_or_a_base_is_refused_too(scene: Scene) -> None:
    scene.files = ("mcp-compose.yaml", "over.yaml")
    scene.write(
        **{
            "mcp-compose.yaml": HEAD + "servers:\n  a: {from: acme/echo}\n  b: {from: acme/echo, extends: a}\n",
            "over.yaml": "servers:\n  a: {command: [sh]}\n",
        }
    )
    found = [one for one in scene.problems() if "`command`" in one]

    assert found == [
        "over.yaml:2:7 `command` would make something else of the approved entry that server `a` comes from"
    ]


def test_tools_can_be_taken_away_and_not_given_back(scene: Scene) -> None:
    servers = "servers:\n  a: {from: acme/echo, tools: {allow: ['*']}}\n  b: {from: acme/echo, tools: {deny: [x]}}\n"
    text = HEAD + servers
    scene.write(**{"mcp-compose.yaml": text})

    assert [one for one in scene.problems() if "tools" in one] == [
        "mcp-compose.yaml:4:32 `tools.allow` would change what the approved entry of server `a` offers"
    ]


def test_runners_are_not_the_projects_to_choose_under_a_policy(scene: Scene) -> None:
    scene.write(**{"mcp-compose.yaml": f"{HEAD}runners: {{pypi: evil}}\nservers:\n  a: {{from: acme/echo}}\n"})

    assert any(
        "`runners.pypi` would put the packages of approved entries on another image" in p for p in scene.problems()
    )


# --- only tighter ---


def test_policies_of_includes_and_of_several_files_all_hold(scene: Scene) -> None:
    key = Signer().pem
    scene.files = ("mcp-compose.yaml", "over.yaml")
    scene.write(
        **{
            "a.pub": key,
            "b.pub": key,
            "part.yaml": "catalogs: {acme: ./catalog.yaml}\n"
            "policy: {servers: [acme/*], images: {signed_by: ./a.pub}}\nservers: {}\n",
            "mcp-compose.yaml": "include: [part.yaml]\npolicy: {servers: ['*/e*'], images: {require: digest}}\n"
            "servers:\n  a: {from: acme/echo}\n",
            "over.yaml": "policy: {servers: ['*/*'], images: {signed_by: [b.pub]}}\nservers: {}\n",
        }
    )
    loaded = scene.load()

    policy = loaded.project.policy
    assert policy is not None
    assert policy.servers == ("acme/e*",)
    assert policy.images.require == "digest"
    assert {Path(file).name for file in policy.images.signed_by} == {"a.pub", "b.pub"}
    assert {Path(signer.file).name for signer in loaded.project.signers} == {"a.pub", "b.pub"}


def test_an_including_file_cannot_loosen_what_it_includes(scene: Scene) -> None:
    scene.write(
        **{
            "part.yaml": "catalogs: {acme: ./catalog.yaml}\npolicy: {servers: [acme/*]}\nservers: {}\n",
            "mcp-compose.yaml": "include: [part.yaml]\npolicy: {servers: ['*/*']}\nservers:\n  a: {process: [sh]}\n",
        }
    )
    assert any("the policy accepts servers from a catalog only" in one for one in scene.problems())


@pytest.mark.parametrize(
    ("over", "tag", "at"),
    [
        ("policy: !reset null", "!reset", "1:9"),
        ("policy: !override {servers: ['*/*']}", "!override", "1:9"),
        ("policy: {servers: !reset []}", "!reset", "1:19"),
        ("policy: {servers: !override ['*/*']}", "!override", "1:19"),
    ],
)
def test_no_tag_loosens_a_policy(scene: Scene, over: str, tag: str, at: str) -> None:
    scene.files = ("mcp-compose.yaml", "over.yaml")
    scene.write(
        **{"mcp-compose.yaml": HEAD + "servers:\n  a: {process: [sh]}\n", "over.yaml": f"{over}\nservers: {{}}\n"}
    )

    found = scene.problems()
    assert f"over.yaml:{at} `{tag}` is not for a policy: policies only tighten" in found
    assert any("the policy accepts servers from a catalog only" in one for one in found)


@pytest.mark.parametrize(
    "over",
    [
        "catalogs: {acme: ./evil.yaml}",
        "catalogs: !override {acme: ./evil.yaml}",
        "catalogs: {acme: !override {file: ./evil.yaml}}",
        "catalogs: !reset null",
        "catalogs: {acme: !reset null}",
    ],
)
def test_no_other_file_says_what_an_approved_catalog_is(scene: Scene, over: str) -> None:
    scene.files = ("mcp-compose.yaml", "over.yaml")
    scene.write(
        **{
            "mcp-compose.yaml": HEAD + "servers:\n  a: {from: acme/echo}\n",
            "over.yaml": f"{over}\nservers: {{}}\n",
            "evil.yaml": CATALOG,
        }
    )
    assert any("the catalog `acme`" in one and "policy" in one for one in scene.problems())


def test_a_star_for_catalogs_stands_for_those_of_the_policys_own_file(scene: Scene) -> None:
    scene.bound_by(f"catalogs: {{acme: {scene.folder}/etc/acme.yaml}}\npolicy: {{servers: ['acme*/*']}}\n")
    (scene.folder / "etc/acme.yaml").write_text(CATALOG)
    scene.write(
        **{
            "mine.yaml": CATALOG,
            "mcp-compose.yaml": "catalogs: {acme-mine: ./mine.yaml}\nservers:\n  a: {from: acme-mine/echo}\n",
        }
    )
    assert any("comes from `acme-mine/echo`, which the policy does not accept" in one for one in scene.problems())

    scene.write(**{"mcp-compose.yaml": "servers:\n  a: {from: acme/echo}\n"})
    assert scene.load().project.servers["a"].image == PINNED


def test_two_policies_cannot_mean_different_catalogs_by_one_name(scene: Scene) -> None:
    scene.files = ("mcp-compose.yaml", "over.yaml")
    scene.write(
        **{
            "mcp-compose.yaml": HEAD + "servers:\n  a: {from: acme/echo}\n",
            "over.yaml": "catalogs: {acme: ./evil.yaml}\npolicy: {servers: [acme/*]}\nservers: {}\n",
            "evil.yaml": CATALOG,
        }
    )
    assert any("the catalog `acme` is named by the policy in `mcp-compose.yaml`" in one for one in scene.problems())


def test_a_policy_declares_the_catalogs_that_it_names(scene: Scene) -> None:
    scene.write(
        **{
            "part.yaml": "policy: {servers: [acme/*]}\nservers: {}\n",
            "mcp-compose.yaml": "include: [part.yaml]\ncatalogs: {acme: ./catalog.yaml}\n"
            "servers:\n  a: {from: acme/echo}\n",
        }
    )
    assert "part.yaml:1:20 the policy names the catalog `acme`, which this file does not declare" in scene.problems()


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("{servers: ['${ALLOWED}']}", "nothing is put in the place of a `$` here"),
        ("{servers: [acme]}", "`servers` must be written otherwise"),
        ("{servers: ['a*b/c']}", "must be written otherwise"),
        ("{images: {require: tag}}", "`require`"),
        ("{images: {signed_by: ./gone.pub}}", "the file does not exist"),
        ("{images: {signed_by: ./catalog.yaml}}", "holds no public key in PEM form"),
        ("{image: {}}", "unknown key `image`, did you mean `images`?"),
        ("", "`policy` is empty"),
        ("[]", "`policy`"),
    ],
)
def test_policies_that_are_wrong_are_said_and_nothing_loads(scene: Scene, policy: str, message: str) -> None:
    scene.environ["ALLOWED"] = "*/*"
    scene.write(**{"mcp-compose.yaml": f"policy: {policy}\nservers: {{a: {{image: {PINNED}}}}}\n"})

    assert any(message in one for one in scene.problems()), scene.problems()


# --- images ---


@pytest.mark.parametrize(
    ("rest", "place", "message"),
    [
        ("servers: {a: {image: acme/echo}}", "2:22", "`acme/echo` is not named by its digest"),
        ("servers: {a: {image: acme/echo:1}}", "2:22", "`acme/echo:1` is not named by its digest"),
        ("servers: {a: {image: acme/echo@sha256:12}}", "2:22", "`acme/echo@sha256:12` is no image"),
        ("servers: {a: {build: .}}", "2:15", "server `a` is built here"),
        ("servers: {a: {package: 'pypi:x==1'}}", "2:24", "the packages are installed on `python:3.12-slim`"),
        ("servers: {a: {package: 'npm:x@1', runner: node}}", "2:43", "the packages are installed on `node`"),
        (
            "servers: {a: {package: 'npm:x@1'}}\nrunners: {npm: node:22}",
            "3:16",
            "the packages are installed on `node:22`",
        ),
        (f"servers: {{a: {{image: '{PINNED}', network: {{allow: ['a.b:443']}}}}}}", "", "`python:3.12-slim`"),
    ],
)
def test_images_without_a_digest_are_refused(scene: Scene, rest: str, place: str, message: str) -> None:
    scene.write(**{"mcp-compose.yaml": f"policy: {{images: {{require: digest}}}}\n{rest}\n"})

    (found,) = scene.problems()
    assert found.startswith(f"mcp-compose.yaml:{place} {message}" if place else "mcp-compose.yaml:")
    assert message in found


def test_a_signature_wants_a_digest(scene: Scene) -> None:
    scene.write(**{"a.pub": Signer().pem})
    scene.write(**{"mcp-compose.yaml": "policy: {images: {signed_by: a.pub}}\nservers: {a: {image: acme/echo:1}}\n"})

    (found,) = scene.problems()
    assert found.endswith("the policy wants signed images, and a signature is one of a digest")


def test_images_with_a_digest_load(scene: Scene) -> None:
    text = (
        f"policy: {{images: {{require: digest}}}}\nrunners: {{pypi: '{PINNED}'}}\n"
        f"servers:\n  a: {{image: '{PINNED}'}}\n  b: {{package: 'pypi:x==1'}}\n  c: {{url: https://x.example/}}\n"
    )
    scene.write(**{"mcp-compose.yaml": text})

    assert scene.problems() == []


# --- the machine's ---


def test_the_machines_policy_binds_a_project_that_has_none(scene: Scene) -> None:
    scene.bound_by("policy: {images: {require: digest}}\n")
    scene.write(**{"mcp-compose.yaml": "servers: {a: {image: acme/echo:1}}\n"})

    (found,) = scene.problems()
    assert found.startswith("mcp-compose.yaml:1:22 `acme/echo:1` is not named by its digest")


def test_the_machines_policy_and_the_projects_both_hold(scene: Scene) -> None:
    scene.bound_by(
        f"catalogs: {{acme: {{file: {scene.folder}/project/catalog.yaml}}}}\npolicy: {{servers: [acme/e*]}}\n"
    )
    scene.write(
        **{
            "mcp-compose.yaml": "policy: {servers: ['*/*']}\n"
            "servers:\n  a: {from: acme/other}\n  b: {from: acme/echo}\n"
        }
    )

    assert scene.problems() == [
        "mcp-compose.yaml:3:13 server `a` comes from `acme/other`, which the policy does not accept"
    ]


def test_a_project_cannot_say_what_a_catalog_of_the_machine_is(scene: Scene) -> None:
    scene.bound_by(
        f"catalogs: {{acme: {{file: {scene.folder}/project/catalog.yaml}}}}\npolicy: {{servers: [acme/*]}}\n"
    )
    scene.write(
        **{
            "mcp-compose.yaml": "catalogs: {acme: ./evil.yaml}\nservers:\n  a: {from: acme/echo}\n",
            "evil.yaml": CATALOG,
        }
    )
    assert (
        "mcp-compose.yaml:1:12 the catalog `acme` is set by the machine's policy (`etc/policy.yaml`)"
        in scene.problems()
    )


def test_a_catalog_of_the_machine_is_there_without_being_declared(scene: Scene) -> None:
    scene.bound_by(
        f"catalogs: {{acme: {{file: {scene.folder}/project/catalog.yaml}}}}\npolicy: {{servers: [acme/*]}}\n"
    )
    scene.write(**{"mcp-compose.yaml": "servers:\n  a: {from: acme/echo}\n"})

    loaded = scene.load()

    assert loaded.project.servers["a"].image == PINNED
    assert str(loaded.origin("policy.servers")).endswith("etc/policy.yaml:2:10")


@pytest.mark.parametrize(
    "spoil", ["writable file", "writable folder", "another owner", "a link", "a folder", "no yaml"]
)
def test_a_machines_policy_that_cannot_be_trusted_stops_everything(scene: Scene, spoil: str) -> None:
    scene.bound_by("policy: {images: {require: digest}}\n")
    scene.write(**{"mcp-compose.yaml": f"servers: {{a: {{image: '{PINNED}'}}}}\n"})
    assert scene.problems() == []
    file, machine = scene.machine.file, scene.machine
    match spoil:
        case "writable file":
            file.chmod(0o664)
        case "writable folder":
            file.parent.chmod(0o777)
        case "another owner":
            machine = Machine(file, owner=os.getuid() + 1, above=scene.folder)
        case "a link":
            file.rename(file.with_name("real"))
            file.symlink_to("real")
        case "a folder":
            file.unlink()
            file.mkdir()
        case _:
            file.write_text("policy: [\n")
    request = Request(
        files=(scene.folder / "project/mcp-compose.yaml",), directory=scene.folder / "project", environ={},
        home=scene.folder, machine=machine,
    )  # fmt: skip

    with pytest.raises(FileProblems):
        load(request)


@pytest.mark.parametrize(
    "text", ["", "servers: {}\npolicy: {}\n", "polcy: {}\n", "policy:\n", "policy: {servrs: []}\n"]
)
def test_a_machines_policy_with_a_mistake_stops_everything(scene: Scene, text: str) -> None:
    scene.bound_by(text)
    scene.write(**{"mcp-compose.yaml": f"servers: {{a: {{image: '{PINNED}'}}}}\n"})

    assert scene.problems() != []


def test_no_variable_leads_away_from_the_machines_policy(scene: Scene) -> None:
    from mcpcompose.actions.locate import load_request, locate
    from mcpcompose.actions.options import Options

    scene.write(**{"mcp-compose.yaml": f"servers: {{a: {{image: '{PINNED}'}}}}\n"})
    environ = {
        "MCP_COMPOSE_HOME": str(scene.folder), "MCP_COMPOSE_POLICY": "/dev/null", "XDG_CONFIG_HOME": "/x",
        "XDG_CONFIG_DIRS": "/x", "HOME": "/x",
    }  # fmt: skip
    options = Options(directory=scene.folder / "project", environ=environ, home=scene.folder)

    for request in (locate(options).request(), load_request({**locate(options).wire(), "machine": "/dev/null"})):
        assert request.machine == Machine(Path("/etc/mcp-compose/policy.yaml"), owner=0, above=Path("/"))


SECRETS = f"""catalog: 1
servers:
  echo:
    server: {{image: '{PINNED}', tools: {{allow: [a]}}}}
    secrets: {{key: {{env: API_KEY}}, file: {{}}}}
"""


DECLARED = "secrets: {key: {environment: A}, file: {environment: B}}\n"


def test_secrets_go_only_where_the_approved_entry_has_them(scene: Scene) -> None:
    text = (
        f"{HEAD}secrets: {{mine: {{environment: A}}, key: {{environment: A}}, file: {{environment: B}}}}\n"
        "servers:\n  a: {from: acme/echo, secrets: [{source: mine, env: API_KEY}, {source: mine, target: file}]}\n"
        "  b:\n    from: acme/echo\n    secrets:\n      - {source: mine, env: BASE_URL}\n      - mine\n"
    )
    scene.write(**{"catalog.yaml": SECRETS, "mcp-compose.yaml": text})

    assert scene.problems() == [
        "mcp-compose.yaml:9:9 the approved entry of server `b` has no secret that goes to the variable `BASE_URL`",
        "mcp-compose.yaml:10:9 the approved entry of server `b` has no secret that goes to the file `mine`",
    ]


@pytest.mark.parametrize("key", ["tools", "secrets", "image", "user"])
def test_what_an_approved_entry_says_is_not_reset(scene: Scene, key: str) -> None:
    text = f"{HEAD}{DECLARED}servers:\n  a: {{from: acme/echo, {key}: !reset null}}\n"
    scene.write(**{"catalog.yaml": SECRETS, "mcp-compose.yaml": text})

    assert any(f"says of `{key}` cannot be reset or overridden" in one for one in scene.problems()), scene.problems()


def test_denying_tools_leaves_what_the_entry_allows(scene: Scene) -> None:
    text = f"{HEAD}{DECLARED}servers:\n  a: {{from: acme/echo, tools: {{deny: [b]}}}}\n"
    scene.write(**{"catalog.yaml": SECRETS, "mcp-compose.yaml": text})

    tools = scene.load().project.servers["a"].tools
    assert (tools.allow, tools.deny) == (("a",), ("b",))


def test_a_version_of_an_approved_entry_is_approved_and_another_entry_is_not(scene: Scene) -> None:
    text = (
        HEAD.replace("acme/*", "acme/echo") + "servers:\n  a: {from: acme/echo@1}\n  b: {from: acme/other@acme/echo}\n"
    )
    scene.write(**{"mcp-compose.yaml": text})

    found = scene.problems()
    assert not any("server `a` comes from" in one for one in found)
    assert any("server `b` comes from" in one for one in found)


@pytest.mark.parametrize(
    ("catalog", "mode"), [("./acme.yaml", 0o666), ("{file: ./acme.yaml}", 0o666), ("./gone.yaml", 0o644)]
)
def test_a_catalog_file_of_the_machine_is_as_trusted_as_its_policy(scene: Scene, catalog: str, mode: int) -> None:
    text = f"catalogs: {{acme: {catalog}}}\npolicy: {{servers: [acme/*]}}\n"
    scene.bound_by(text).write(**{"mcp-compose.yaml": "servers:\n  a: {from: acme/echo}\n"})
    file = scene.machine.file.with_name("acme.yaml")
    file.write_text(CATALOG)
    file.chmod(mode)

    assert any(one.startswith("etc/policy.yaml:1:") for one in scene.problems()), scene.problems()
    if mode != 0o644:
        file.chmod(0o644)
        assert scene.problems() == []


def test_a_key_of_the_machine_is_as_trusted_as_its_policy(scene: Scene) -> None:
    scene.bound_by("policy: {images: {signed_by: ./acme.pub}}\n")
    scene.write(**{"mcp-compose.yaml": f"servers: {{a: {{image: '{PINNED}'}}}}\n"})
    key = scene.machine.file.with_name("acme.pub")
    key.write_text(Signer().pem)
    key.chmod(0o644)
    assert scene.problems() == []

    key.chmod(0o664)
    assert any("can be written by others than root" in one for one in scene.problems())
    key.unlink()
    assert scene.problems() != []


def test_the_machines_policy_is_watched_and_its_keys_too(scene: Scene) -> None:
    scene.bound_by("policy: {images: {signed_by: ./acme.pub}}\n")
    scene.machine.file.with_name("acme.pub").write_text(Signer().pem)
    scene.write(**{"mcp-compose.yaml": f"servers: {{a: {{image: '{PINNED}'}}}}\n"})

    files = scene.load().files
    assert scene.machine.file in files
    assert scene.machine.file.with_name("acme.pub") in files
