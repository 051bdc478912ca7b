"""What `docker login` left: found where Docker finds it, and never handed to anything that it is not for."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from mcpcompose.catalog.credentials import Credentials, DockerLogins
from mcpcompose.catalog.reference import parse
from mcpcompose.errors import FetchFailed

HOST = "registry.example:5000"


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def logins(folder: Path, config: Any, *, seconds: float = 10, path: str = "/usr/bin:/bin") -> DockerLogins:
    (folder / ".docker").mkdir(exist_ok=True)
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / ".docker/config.json").write_text(text)
    return DockerLogins({"PATH": path}, folder, seconds=seconds)


def of(found: DockerLogins, registry: str = HOST) -> Credentials | None:
    return asyncio.run(found.of(registry))


def helper(folder: Path, text: str, name: str = "docker-credential-test") -> str:
    (folder / "bin").mkdir(exist_ok=True)
    program = folder / "bin" / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return f"{folder}/bin:/usr/bin:/bin"


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"https://{HOST}/v1/", f"https://{HOST}/v2/"])
def test_credentials_are_found_under_every_name_that_docker_writes(tmp_path: Path, key: str) -> None:
    found = logins(tmp_path, {"auths": {key: {"auth": packed("me:pass:word")}}})

    assert of(found) == Credentials("me", "pass:word")
    assert found.knows(HOST)
    assert of(found, "other.example") is None
    assert not found.knows("other.example")


def test_docker_hub_has_a_name_of_its_own(tmp_path: Path) -> None:
    found = logins(tmp_path, {"auths": {"https://index.docker.io/v1/": {"auth": packed("me:x")}}})

    assert of(found, parse("acme/echo").registry) == Credentials("me", "x")


def test_an_identity_token_takes_the_place_of_a_password(tmp_path: Path) -> None:
    found = of(logins(tmp_path, {"auths": {HOST: {"auth": packed("me:"), "identitytoken": "planted"}}}))

    assert found is not None
    assert found.identity == "planted"
    assert "planted" not in repr(found)


def test_a_helper_of_one_registry_goes_before_the_store(tmp_path: Path) -> None:
    path = helper(tmp_path, 'echo \'{"Username": "one", "Secret": "s"}\'', "docker-credential-one")
    config = {"auths": {HOST: {}}, "credsStore": "missing", "credHelpers": {HOST: "one"}}

    assert of(logins(tmp_path, config, path=path)) == Credentials("one", "s")


def test_the_store_is_asked_for_nothing_that_nobody_logged_in_to(tmp_path: Path) -> None:
    path = helper(tmp_path, f"echo asked > {tmp_path}/asked; exit 1")

    assert of(logins(tmp_path, {"credsStore": "test"}, path=path)) is None
    assert not (tmp_path / "asked").exists()


def test_a_helper_runs_in_the_home_folder_with_the_registry_on_its_input_only(tmp_path: Path) -> None:
    path = helper(tmp_path, 'echo "$PWD $* $(cat)" > "$PWD/seen"; echo \'{"Username": "<token>", "Secret": "t"}\'')
    found = of(logins(tmp_path, {"auths": {HOST: {}}, "credsStore": "test"}, path=path))

    assert found == Credentials("", identity="t")
    assert (tmp_path / "seen").read_text() == f"{tmp_path} get {HOST}\n"


def test_a_helper_that_has_nothing_is_no_mistake(tmp_path: Path) -> None:
    path = helper(tmp_path, "echo credentials not found in native keychain; exit 1")

    assert of(logins(tmp_path, {"auths": {HOST: {}}, "credsStore": "test"}, path=path)) is None


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("echo planted-secret; exit 3", "failed with code 3"),
        ("echo planted-secret", "answered what no credential helper answers"),
        ('echo \'{"Secret": "planted-secret"}\'', "answered what no credential helper answers"),
        ("yes planted-secret", "printed more than"),
        ("sleep 60", "no answer within 1 s"),
        ("setsid sleep 20 & yes planted-secret", "printed more than"),
    ],
)
def test_a_helper_that_breaks_is_named_and_what_it_said_is_not(tmp_path: Path, text: str, match: str) -> None:
    path = helper(tmp_path, text)
    found = logins(tmp_path, {"auths": {HOST: {}}, "credsStore": "test"}, path=path, seconds=1)

    with pytest.raises(FetchFailed, match=match) as caught:
        of(found)
    assert "docker-credential-test" in caught.value.message
    assert "planted" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.parametrize("name", ["../evil", "/bin/sh", "a b", "", "x;y", "-x", 3, {"a": 1}])
def test_only_a_plain_name_is_a_helper(tmp_path: Path, name: Any) -> None:
    found = logins(tmp_path, {"auths": {HOST: {}}, "credHelpers": {HOST: name}})
    if not name:
        assert of(found) is None
        return
    with pytest.raises(FetchFailed, match="cannot be one"):
        of(found)


def test_helpers_are_not_looked_for_in_the_folder_that_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, f"touch {tmp_path}/ran")
    monkeypatch.chdir(tmp_path / "bin")
    found = logins(tmp_path, {"auths": {HOST: {}}, "credsStore": "test"}, path=".:bin::/usr/bin")

    with pytest.raises(FetchFailed, match="is not installed"):
        of(found)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("config", ["[]", "{", "null", "\x00", '{"auths": ' + "[" * 5000])
def test_a_configuration_that_cannot_be_read_is_said(tmp_path: Path, config: str) -> None:
    with pytest.raises(FetchFailed, match="is not a Docker configuration"):
        of(logins(tmp_path, config))


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        "x",
        {"auth": "%%%"},
        {"auth": 3},
        {"auth": packed("\udcff".encode("utf-8", "surrogatepass").decode("latin-1"))},
        {},
    ],
)
def test_an_entry_that_is_none_is_passed_over(tmp_path: Path, entry: Any) -> None:
    found = of(logins(tmp_path, {"auths": {HOST: entry}}))
    assert found is None or found.user


def test_without_a_configuration_nobody_is_known(tmp_path: Path) -> None:
    assert of(DockerLogins({}, tmp_path)) is None


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        ("redis", "docker.io/library/redis", "latest"),
        ("acme/echo:1", "docker.io/acme/echo", "1"),
        ("index.docker.io/acme/echo", "docker.io/acme/echo", "latest"),
        ("localhost/a:1", "localhost/a", "1"),
        ("Registry.Example:443/a/b/c:x_y", "registry.example:443/a/b/c", "x_y"),
        ("[::1]:5000/a:1", "[::1]:5000/a", "1"),
        (f"ghcr.io/a/b:1@sha256:{'0' * 64}", "ghcr.io/a/b", f"sha256:{'0' * 64}"),
    ],
)
def test_references_are_read_as_docker_reads_them(text: str, name: str, wanted: str) -> None:
    assert (parse(text).name, parse(text).wanted) == (name, wanted)


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "a/", "/a", "UPPER/case", "a b", "a:b:c", "a@sha256:12", f"a@sha512:{'0' * 128}", "a/../b", "a/b?x=1",
        "a//b", "registry.example/a/../../v2/other/manifests/x", "registry.example/a#b", "ex.ample/a\n",
        "user@host.example/a", "a:" + "t" * 129,
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(FetchFailed):
        parse(text)
