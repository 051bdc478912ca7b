from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mcpcompose.engine.base import HostCommand, InstanceSpec, SecretFile, Stdio
from mcpcompose.errors import McpComposeError, SecretMissing, UsageError
from mcpcompose.orchestrator.desired import bare_instances
from mcpcompose.redact import Redactor
from mcpcompose.secrets.machine_keyring import KeyringProvider
from mcpcompose.secrets.places import keyring_places
from mcpcompose.secrets.resolver import Resolver, server_secrets
from mcpcompose.secrets.system_keyring import SystemKeyring
from mcpcompose.spec.interceptor import Interceptor
from mcpcompose.spec.secret import CommandSource, DockerSource, EnvironmentSource, FileSource, KeyringSource
from mcpcompose.spec.server import Server
from orchestrator.stage import OWNER, project

ENVIRON = {f"V{number}": f"value-number-{number}" for number in range(20)}
SOURCES = {f"s{number}": (EnvironmentSource(environment=f"V{number}"),) for number in range(20)}


def resolver(sources: Any = None, environ: dict[str, str] | None = None, **keys: Any) -> Resolver:
    redactor = keys.pop("redactor", None) or Redactor()
    return Resolver(SOURCES if sources is None else sources, environ or ENVIRON, Path("/home/me"), redactor, **keys)


def spec(**keys: Any) -> InstanceSpec:
    return InstanceSpec("team-a-1", "a", HostCommand(), Stdio(), (), **keys)


async def test_each_of_many_servers_gets_exactly_its_own_secret() -> None:
    servers = {
        f"a{n}": {"image": "x", "secrets": [f"s{n}"], "environment": {"E": f"${{secret:s{n}}}"}} for n in range(20)
    }
    asked = resolver()

    for number, instance in enumerate(bare_instances(project(servers=servers), OWNER, {})):
        values = await asked.values(instance, {})
        assert values.secret_files == {f"s{number}": f"value-number-{number}".encode()}
        assert values.environment == {"E": f"value-number-{number}"}


async def test_references_become_values_in_every_place() -> None:
    given = spec(
        command=("--user=${USER}", "plain", "$$5"),
        entrypoint=("${TOOL:-sh}",),
        environment=(("T", "Bearer ${secret:s1}"), ("U", "${USER}")),
        secret_files=(SecretFile("s2", "target"),),
    )

    values = await resolver().values(given, {"USER": "me"})

    assert values.command == ("--user=me", "plain", "$5")
    assert values.entrypoint == ("sh",)
    assert values.environment == {"T": "Bearer value-number-1", "U": "me"}
    assert values.secret_files == {"target": b"value-number-2"}
    assert "value-number" not in repr(values)


async def test_values_that_are_handed_out_are_redacted_from_then_on() -> None:
    redactor = Redactor()
    asked = resolver(redactor=redactor)

    await asked.values(spec(environment=(("A", "${secret:s1}"), ("B", "${API_TOKEN}"), ("C", "${MODE}"))),
                       {"API_TOKEN": "token-of-the-api", "MODE": "production"})  # fmt: skip

    assert redactor.text("value-number-1 token-of-the-api production") == "[redacted] [redacted] production"


async def test_headers_and_urls_of_remote_servers_hold_values() -> None:
    server = Server.model_validate(
        {"url": "https://${HOST}/mcp?key=${secret:s1}", "headers": {"Authorization": "Bearer ${secret:s2}"}}
    )

    assert await resolver().url("r", server, {"HOST": "mcp.example"}) == "https://mcp.example/mcp?key=value-number-1"
    assert await resolver().headers("r", server, {}) == {"Authorization": "Bearer value-number-2"}


async def test_a_header_value_with_a_line_break_is_refused_without_showing_it() -> None:
    server = Server.model_validate({"url": "https://x/mcp", "headers": {"X-Key": "${secret:s1}"}})

    with pytest.raises(UsageError, match="`X-Key`") as caught:
        await resolver(environ={"V1": "planted\r\nHost: evil"}).headers("r", server, {})

    assert "planted" not in str(caught.value)


async def test_a_header_value_that_is_not_ascii_is_refused_without_showing_it() -> None:
    server = Server.model_validate({"url": "https://x/mcp", "headers": {"X-Key": "${secret:s1}"}})

    with pytest.raises(UsageError, match="`X-Key` of server `r` has a character that is not ASCII") as caught:
        await resolver(environ={"V1": "planted-é"}).headers("r", server, {})

    assert "planted" not in str(caught.value)


async def test_what_is_missing_names_the_server_the_providers_and_the_next_step() -> None:
    remote = {"url": "https://x", "headers": {"X": "${secret:u}"}}
    what = project(servers={"a": {"image": "x", "secrets": ["k"]}, "r": remote})
    sources = {"k": (EnvironmentSource(environment="K"), FileSource(file="/nowhere/k"))}

    with pytest.raises(SecretMissing) as caught:
        await resolver(sources).check(what)

    assert caught.value.message == (
        "secret `k` of server `a` is missing (environment variable `K`: not set; "
        "file `/nowhere/k`: no such file or directory)\n"
        "secret `u` of server `r` is missing (not declared under `secrets`)"
    )
    assert caught.value.hint == "set the environment variable `K`\ndeclare `u` under `secrets`"
    assert caught.value.exit_code == 3


async def test_a_secret_that_no_server_uses_is_not_asked_for(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    sources = {"k": (CommandSource(command=("touch", str(mark))),)}

    await resolver(sources, directory=tmp_path).check(project(servers={"a": {"image": "x"}}))

    assert not mark.exists()


async def test_a_command_runs_once_for_many_rounds(tmp_path: Path) -> None:
    log = tmp_path / "log"
    sources = {"k": (CommandSource(command=("sh", "-c", f"echo x >> {log}; echo value")),)}
    commands: dict[tuple[str, ...], bytes] = {}
    given = spec(secret_files=(SecretFile("k", "k"),))

    for _ in range(3):
        asked = resolver(sources, host={"PATH": "/usr/bin:/bin"}, directory=tmp_path, commands=commands)
        assert (await asked.values(given, {})).secret_files == {"k": b"value"}

    assert log.read_text() == "x\n"


async def test_the_first_source_that_has_a_value_counts_and_later_ones_are_not_asked(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "k").write_text("from the file\n")
    sources = {
        "k": (
            EnvironmentSource(environment="EMPTY"),
            EnvironmentSource(environment="NONE"),
            FileSource(file="k"),
            CommandSource(command=("touch", str(mark))),
        )
    }
    asked = resolver(sources, {"EMPTY": ""}, host={"PATH": "/usr/bin:/bin"}, directory=tmp_path)

    values = await asked.values(spec(secret_files=(SecretFile("k", "k"),)), {})

    assert values.secret_files == {"k": b"from the file"}
    assert not mark.exists()


async def test_what_is_missing_everywhere_names_every_source_in_order_and_the_command_that_sets_it(
    tmp_path: Path,
) -> None:
    sources = {
        "k": (
            EnvironmentSource(environment="K"),
            KeyringSource(keyring="team/k"),
            CommandSource(command=("false",)),
            DockerSource(docker="k"),
        )
    }
    host = {"PATH": "/usr/bin:/bin", "MCP_COMPOSE_HOME": str(tmp_path)}

    with pytest.raises(SecretMissing) as caught:
        await resolver(sources, host=host).check(project(servers={"a": {"image": "x", "secrets": ["k"]}}))

    assert caught.value.message == (
        "secret `k` of server `a` is missing (environment variable `K`: not set; keyring entry `team/k`: no keyring "
        "service answers, and the encrypted file has no such entry; command `false`: exited with code 1; "
        "Docker secret `k`: not mounted at `/run/secrets/k` (no such file or directory))"
    )
    assert caught.value.hint == "run `mcp-compose secret set k`"


async def test_the_keyring_is_asked_once_until_a_value_is_set_removed_or_asked_for_by_up(tmp_path: Path) -> None:
    """A person whose keyring asks whether it may be read is not asked once a minute."""
    host = {"PATH": "/usr/bin:/bin", "MCP_COMPOSE_HOME": str(tmp_path)}
    entry = KeyringProvider("k", SystemKeyring(host), keyring_places(host, tmp_path))
    kept: dict[tuple[object, ...], Any] = {}
    sources = {"k": (KeyringSource(keyring="k"),)}

    async def value() -> bytes:
        asked = resolver(sources, host=host, directory=tmp_path, commands=kept)
        return (await asked.values(spec(secret_files=(SecretFile("k", "k"),)), {})).secret_files["k"]

    with pytest.raises(SecretMissing):
        await value()
    await entry.write(b"first")
    assert await value() == b"first"
    aside = entry.places.key.rename(tmp_path / "aside")
    assert await value() == b"first"  # not read again
    aside.rename(entry.places.key)
    await entry.write(b"second")
    assert await value() == b"second"
    await entry.remove()
    with pytest.raises(SecretMissing):
        await value()


async def test_commands_do_not_get_the_variables_of_the_file(tmp_path: Path) -> None:
    sources = {"k": (CommandSource(command=("/usr/bin/env",)),)}
    asked = resolver(sources, {"LD_PRELOAD": "/evil.so"}, host={"HOST": "only"}, directory=tmp_path)

    assert (await asked.values(spec(secret_files=(SecretFile("k", "k"),)), {})).secret_files == {"k": b"HOST=only"}


async def test_bytes_that_are_no_text_can_only_be_files(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(b"\xff\xfe")
    sources = {"k": (FileSource(file="k"),)}

    with pytest.raises(McpComposeError, match="is not text"):
        await resolver(sources, directory=tmp_path).values(spec(environment=(("K", "${secret:k}"),)), {})


async def test_keyed_digests_tell_variables_and_secrets_apart_and_give_nothing_away() -> None:
    given = spec(environment=(("A", "${X}"), ("B", "${secret:s1}")))
    one = await resolver().keyed(given, {"X": "1"}, b"key")

    assert one == await resolver().keyed(given, {"X": "1", "Y": "2"}, b"key")
    other_variable = await resolver().keyed(given, {"X": "2"}, b"key")
    assert (other_variable[0] != one[0], other_variable[1]) == (True, one[1])
    other_secret = await resolver(environ={"V1": "another"}).keyed(given, {"X": "1"}, b"key")
    assert (other_secret[0], other_secret[1] != one[1]) == (one[0], True)
    assert await resolver().keyed(given, {"X": "1"}, b"another key") != one


def test_a_server_may_have_what_it_lists_and_what_its_own_templates_name() -> None:
    server = Server.model_validate(
        {"image": "x", "secrets": ["a", {"source": "b", "env": "B"}], "environment": {"C": "${X:-${secret:c}}"}}
    )

    assert list(server_secrets(server)) == ["a", "b", "c"]


async def test_secrets_of_interceptors_are_asked_for_before_anything_starts_and_a_missing_one_is_named() -> None:
    scan = {"run": ["check"], "environment": {"A": "x ${secret:s1}"}, "secrets": [{"source": "gone", "env": "G"}]}
    hook = {"name": "hook", "url": "https://example.com", "headers": {"A": "${secret:gone}"}}
    made = tuple(Interceptor.model_validate(one) for one in (scan, hook))
    servers = {"a": {"image": "x", "secrets": ["gone"]}}

    with pytest.raises(SecretMissing) as caught:
        await resolver().check(project(servers=servers, interceptors=made))

    assert caught.value.message == (
        "secret `gone` of server `a` and interceptors `run`, `hook` is missing (not declared under `secrets`)"
    )


async def test_a_text_of_an_interceptor_gets_its_values_and_errors_name_it() -> None:
    asked = resolver()

    assert await asked.text("hook", "Bearer ${secret:s1} for ${WHO}", {"WHO": "me"}) == "Bearer value-number-1 for me"
    with pytest.raises(SecretMissing, match="secret `gone` of interceptor `hook` is missing"):
        await asked.text("hook", "${secret:gone}", {})
    with pytest.raises(UsageError, match="interceptor `hook`: "):
        await asked.text("hook", "${X:?must be set}", {})
