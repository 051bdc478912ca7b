"""Catalogs pushed to and pulled from a real registry, and what is refused when it lies."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.registry import PASSWORD, USER, Registry, private_registry, registry, token_registry
from mcpcompose.catalog.copies import Supply
from mcpcompose.catalog.credentials import DockerLogins
from mcpcompose.catalog.distribution import MANIFEST, Repository, digest_of
from mcpcompose.catalog.https import Answer, Egress
from mcpcompose.catalog.kept import Copy, Oci
from mcpcompose.catalog.oci import pull, push
from mcpcompose.catalog.reference import parse
from mcpcompose.errors import FetchFailed

pytestmark = pytest.mark.docker  # what brings the engine brings the registry

CATALOG = b"servers:\n  echo: {image: acme/echo:1}\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def supply(home: Path, **environ: str) -> Supply:
    return Supply({"MCP_COMPOSE_HOME": str(home / "state"), "PATH": "/usr/bin:/bin", **environ}, home)


def push_to(running: Registry, by: Supply, name: str = "team/catalog:1", data: bytes = CATALOG) -> str:
    return asyncio.run(push(parse(f"{running.host}/{name}"), data, "own", by.egress, by.logins))


def fresh(by: Supply, text: str) -> tuple[bytes, bool]:
    copy, changed = asyncio.run(by.fresh(Oci(text)))
    return copy.data, changed


def test_what_was_pushed_is_pulled_by_tag_and_by_digest(shared: Registry, tmp_path: Path) -> None:
    by = supply(tmp_path)
    digest = push_to(shared, by)

    for name in ("team/catalog:1", f"team/catalog@{digest}"):
        artifact = asyncio.run(pull(parse(f"{shared.host}/{name}"), by.egress, by.logins))
        assert artifact is not None
        assert (artifact.data, artifact.digest, artifact.kind) == (CATALOG, digest, "own")


def test_pushing_the_same_catalog_again_gives_the_same_digest(shared: Registry, tmp_path: Path) -> None:
    by = supply(tmp_path)

    assert push_to(shared, by, "team/again:1") == push_to(shared, by, "team/again:2")


def test_a_tag_that_moved_is_fetched_and_one_that_did_not_is_left(shared: Registry, tmp_path: Path) -> None:
    by = supply(tmp_path)
    text = f"{shared.host}/team/moving:1"
    push_to(shared, by, "team/moving:1")

    assert fresh(by, text) == (CATALOG, True)
    assert fresh(by, text) == (CATALOG, False)
    push_to(shared, by, "team/moving:1", CATALOG + b"# more\n")
    assert fresh(by, text) == (CATALOG + b"# more\n", True)


def test_an_artifact_that_is_not_there_is_named(shared: Registry, tmp_path: Path) -> None:
    with pytest.raises(FetchFailed, match="team/nothing:9` does not exist"):
        fresh(supply(tmp_path), f"{shared.host}/team/nothing:9")


def test_a_part_that_was_tampered_with_is_refused_and_the_last_good_copy_stays(
    shared: Registry, tmp_path: Path
) -> None:
    by, other = supply(tmp_path), supply(tmp_path / "other")
    text = f"{shared.host}/team/tampered:1"
    data = CATALOG + b"# to be tampered with\n"
    push_to(shared, by, "team/tampered:1", data)
    fresh(by, text)
    newer = data + b"# second\n"
    push_to(shared, by, "team/tampered:1", newer)
    shared.blob_file(digest_of(newer)).write_bytes(newer.replace(b"acme", b"evil"))

    for one in (by, other):
        with pytest.raises(FetchFailed, match="something else than `sha256:"):
            fresh(one, text)
    kept = by.copies.read(Oci(text))
    assert kept is not None
    assert kept.data == data
    assert other.copies.read(Oci(text)) is None


def test_a_half_stored_part_is_refused(shared: Registry, tmp_path: Path) -> None:
    by = supply(tmp_path)
    data = CATALOG + b"# half\n" * 1000
    push_to(shared, by, "team/half:1", data)
    shared.blob_file(digest_of(data)).write_bytes(data[: len(data) // 2])

    with pytest.raises(FetchFailed):
        fresh(by, f"{shared.host}/team/half:1")


def test_a_manifest_behind_a_wrong_digest_is_refused(shared: Registry, tmp_path: Path) -> None:
    by = supply(tmp_path)
    data = CATALOG + b"# manifest\n"
    digest = push_to(shared, by, "team/manifest:1", data)
    file = shared.blob_file(digest)
    file.write_bytes(file.read_bytes().replace(b"catalog.yaml", b"CATALOG.YAML"))

    with pytest.raises(FetchFailed):
        fresh(by, f"{shared.host}/team/manifest@{digest}")


def test_an_image_is_no_catalog(shared: Registry, tmp_path: Path) -> None:
    by = supply(tmp_path)

    async def image() -> None:
        repository = Repository(parse(f"{shared.host}/team/image:1"), by.egress, by.logins)
        config, layer = await repository.put_blob(b'{"os":"linux"}'), await repository.put_blob(b"not a tar")
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 14},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 9}],
        }
        await repository.put_manifest(json.dumps(manifest).encode(), "1")

    asyncio.run(image())

    with pytest.raises(FetchFailed, match="is an image, not a catalog"):
        fresh(by, f"{shared.host}/team/image:1")


def test_a_private_registry_takes_what_docker_login_left(tmp_path: Path) -> None:
    with private_registry(tmp_path / "registry") as running:
        nobody, right, wrong = (supply(tmp_path / name) for name in ("nobody", "right", "wrong"))
        running.login(tmp_path / "right/.docker")
        running.login(tmp_path / "wrong/.docker", password="not-the-one")

        digest = push_to(running, right)
        assert fresh(right, f"{running.host}/team/catalog@{digest}") == (CATALOG, True)
        for one in (nobody, wrong):
            with pytest.raises(FetchFailed, match="wants other credentials") as caught:
                fresh(one, f"{running.host}/team/catalog:1")
            assert caught.value.hint == f"`docker login {running.host}`"
            assert "not-the-one" not in str(caught.value)


def test_a_private_registry_takes_what_a_credential_helper_gives(tmp_path: Path) -> None:
    with private_registry(tmp_path / "registry") as running:
        helper = tmp_path / "bin/docker-credential-test"
        helper.parent.mkdir()
        answer = json.dumps({"ServerURL": running.host, "Username": USER, "Secret": PASSWORD})
        helper.write_text(f'#!/bin/sh\n[ "$1" = get ] && [ "$(cat)" = "{running.host}" ] && echo \'{answer}\'\n')
        helper.chmod(0o755)
        (tmp_path / "docker").mkdir()
        config = {"auths": {running.host: {}}, "credsStore": "test"}
        (tmp_path / "docker/config.json").write_text(json.dumps(config))
        by = supply(tmp_path, DOCKER_CONFIG=str(tmp_path / "docker"), PATH=f"{helper.parent}:/usr/bin:/bin")

        push_to(running, by)

        assert fresh(by, f"{running.host}/team/catalog:1") == (CATALOG, True)


def test_a_registry_with_tokens_is_asked_with_the_token_that_its_realm_gives(tmp_path: Path) -> None:
    with token_registry(tmp_path / "registry") as (running, tokens):
        by = supply(tmp_path)
        running.login(tmp_path / ".docker")

        push_to(running, by)
        assert fresh(by, f"{running.host}/team/catalog:1") == (CATALOG, True)

        scopes = [query["scope"][0] for query, _ in tokens.asked]
        assert scopes == ["repository:team/catalog:pull,push", "repository:team/catalog:pull"]
        assert base64.b64decode(str(tokens.asked[0][1]).split()[1]).decode() == f"{USER}:{PASSWORD}"
        with pytest.raises(FetchFailed, match="wants other credentials"):
            fresh(supply(tmp_path / "nobody"), f"{running.host}/team/catalog:1")


def test_a_registry_that_says_nothing_is_given_up_and_the_copy_stays(shared: Registry, tmp_path: Path) -> None:
    by = supply(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        location = Oci(f"127.0.0.1:{silent.getsockname()[1]}/team/silent:1")
        by.copies.write(location, Copy(CATALOG, "sha256:old"))
        by.egress = Egress(seconds=0.3)
        with pytest.raises(FetchFailed, match="took longer than"):
            asyncio.run(by.fresh(location))

    assert by.copies.read(location) == Copy(CATALOG, "sha256:old")


@pytest.mark.parametrize(
    ("challenge", "match"),
    [
        ('Bearer realm="http://tokens.example/token"', "is not https"),
        ('Bearer realm="https://169.254.169.254/token"', "private network"),
        ('Bearer realm="file:///etc/passwd"', "is not an https URL"),
        ("Bearer", "is not an https URL"),
        ("Negotiate", "in a way that is not known"),
        ("", "in a way that is not known"),
    ],
)
def test_a_registry_cannot_send_credentials_just_anywhere(tmp_path: Path, challenge: str, match: str) -> None:
    head = f"HTTP/1.1 401 No\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(head.encode())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        (tmp_path / ".docker").mkdir()
        packed = base64.b64encode(b"me:planted").decode()
        (tmp_path / ".docker/config.json").write_text(json.dumps({"auths": {host: {"auth": packed}}}))
        with pytest.raises(FetchFailed, match=match) as caught:
            fresh(supply(tmp_path), f"{host}/team/x:1")
        thread.join()

    assert "planted" not in str(caught.value)
    assert packed not in str(caught.value)


class Elsewhere(Egress):
    """The outside, which answers everything with one answer and notes where it was asked."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        super().__init__()
        self.answer = (status, headers)
        self.asked: list[str] = []

    async def ask(self, method: str, url: str, **_keys: Any) -> Answer:  # type: ignore[override]
        self.asked.append(f"{method} {url}")
        return Answer(404 if method == "HEAD" else self.answer[0], self.answer[1], b"{}", url)


@pytest.mark.parametrize("here", ["localhost:9", "localhost.:9", "127.0.0.9", "[::1]:9", "[0:0:0:0:0:0:0:1]:9"])
async def test_a_registry_elsewhere_sends_neither_tokens_nor_uploads_to_this_machine(tmp_path: Path, here: str) -> None:
    logins = DockerLogins({"DOCKER_CONFIG": str(tmp_path)}, tmp_path)
    reference = parse("registry.example/team/x:1")
    token = Elsewhere(401, {"www-authenticate": f'Bearer realm="http://{here}/token"'})
    upload = Elsewhere(202, {"location": f"http://{here}/admin"})

    with pytest.raises(FetchFailed, match="to this machine"):
        await Repository(reference, token, logins).manifest("1")
    with pytest.raises(FetchFailed, match="to this machine"):
        await Repository(reference, upload, logins).put_blob(b"x")

    assert not any(here in url for url in (*token.asked, *upload.asked))
