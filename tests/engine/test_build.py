"""Build contexts: what is in them, their digest, and images built from them."""

from __future__ import annotations

import asyncio
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcpcompose.engine import packages
from mcpcompose.engine.base import BuiltImage, PackageImage, Values
from mcpcompose.engine.build import Ignore, context_digest, context_tar
from mcpcompose.errors import BuildFailed

if TYPE_CHECKING:
    from conftest import Bench

BASE = "mcp-compose-test/base:1"


def context(folder: Path, **files: str) -> Path:
    for name, text in {"Dockerfile": f"FROM {BASE}\n", **files}.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def names(folder: Path) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(context_tar(folder, "Dockerfile")))) as archive:
        return set(archive.getnames())


def test_the_archive_is_the_context(tmp_path: Path):
    context(tmp_path, a="1", sub__b="2" * 1000)
    (tmp_path / "link").symlink_to("/etc/passwd")

    with tarfile.open(fileobj=io.BytesIO(b"".join(context_tar(tmp_path, "Dockerfile")))) as archive:
        found = {member.name: member for member in archive.getmembers()}
        content = archive.extractfile("sub/b")

        assert set(found) == {"Dockerfile", "a", "sub", "sub/b", "link"}
        assert found["link"].linkname == "/etc/passwd"
        assert content is not None
        assert content.read() == b"2" * 1000


@pytest.mark.parametrize(
    ("patterns", "ignored", "kept"),
    [
        ("*.log", ["a.log"], ["sub/a.log", "a.txt"]),
        ("**/*.log", ["a.log", "sub/a.log"], ["a.txt"]),
        ("sub", ["sub", "sub/a", "sub/b/c"], ["subway"]),
        ("/sub/", ["sub/a"], ["a"]),
        ("*\n!keep", ["a", "b"], ["keep", "keep/x"]),
        ("sub\n!sub/keep", ["sub/a"], ["sub/keep"]),
        ("# a comment\n\n.env*", [".env", ".env.local"], ["env"]),
        ("a?c", ["abc"], ["ac", "a/c"]),
        ("[ab]x", ["ax", "bx"], ["cx"]),
        ("node_modules/**", ["node_modules/a/b"], ["src/node_modules"]),
    ],
)
def test_ignore_patterns_follow_dockers_rules(patterns: str, ignored: list[str], kept: list[str]):
    ignore = Ignore(patterns)

    assert [name for name in [*ignored, *kept] if ignore.ignores(name)] == ignored


def test_what_is_ignored_is_neither_sent_nor_counted(tmp_path: Path):
    context(tmp_path, **{".dockerignore": ".env\nDockerfile\n", ".env": "TOKEN=1", "a": "1"})
    before = context_digest(tmp_path, "Dockerfile")

    (tmp_path / ".env").write_text("TOKEN=2")

    assert names(tmp_path) == {"Dockerfile", ".dockerignore", "a"}
    assert context_digest(tmp_path, "Dockerfile") == before


@pytest.mark.parametrize("change", ["content", "mode", "name", "link", "dockerfile"])
def test_every_change_changes_the_digest(tmp_path: Path, change: str):
    context(tmp_path, a="1", Other="FROM x")
    (tmp_path / "link").symlink_to("a")
    before = context_digest(tmp_path, "Dockerfile")
    dockerfile = "Dockerfile"
    match change:
        case "content":
            (tmp_path / "a").write_text("2")
        case "mode":
            (tmp_path / "a").chmod(0o755)
        case "name":
            (tmp_path / "a").rename(tmp_path / "b")
        case "link":
            (tmp_path / "link").unlink()
            (tmp_path / "link").symlink_to("b")
        case _:
            dockerfile = "Other"

    assert context_digest(tmp_path, dockerfile) != before


def test_a_dockerfile_outside_its_context_is_refused(tmp_path: Path):
    (tmp_path / "Dockerfile").write_text("FROM x")
    (tmp_path / "inner").mkdir()

    with pytest.raises(BuildFailed, match="outside"):
        context_digest(tmp_path / "inner", "../Dockerfile")


@pytest.mark.parametrize(
    ("ecosystem", "requirement"),
    [
        ("pypi", "--index-url=http://evil"),
        ("pypi", "name @ https://evil/x.whl"),
        ("pypi", "git+https://evil/x"),
        ("pypi", "./local"),
        ("pypi", "name; rm -rf /"),
        ("pypi", 'name"\nRUN evil'),
        ("pypi", "-r"),
        ("npm", "--registry=http://evil"),
        ("npm", "user/repository"),
        ("npm", "name@https://evil/x.tgz"),
        ("npm", "name@npm:other"),
        ("npm", "file:../x"),
        ("npm", "../x"),
        ("npm", "name && evil"),
        ("npm", "-g"),
    ],
)
def test_only_names_with_versions_can_be_installed(ecosystem: Any, requirement: str):
    with pytest.raises(BuildFailed, match="not a package"):
        packages.dockerfile(ecosystem, requirement, BASE, "")


@pytest.mark.parametrize(
    ("ecosystem", "requirement", "name"),
    [
        ("pypi", "mcp-server-time", "mcp-server-time"),
        ("pypi", "mcp-server-time==2026.10.19", "mcp-server-time"),
        ("pypi", "name[extra,b]>=1,<2", "name"),
        ("pypi", "a~=1.0", "a"),
        ("npm", "@scope/name@1.2.3", "@scope/name"),
        ("npm", "name@^1.2", "name"),
        ("npm", "name@latest", "name"),
        ("npm", "name", "name"),
    ],
)
def test_the_name_is_found_in_a_requirement(ecosystem: Any, requirement: str, name: str):
    assert packages.distribution(ecosystem, requirement) == name


def test_a_runner_cannot_smuggle_in_instructions():
    with pytest.raises(BuildFailed, match="not the name of an image"):
        packages.dockerfile("pypi", "name", "x\nRUN evil", "")


@pytest.mark.docker
async def test_an_image_is_built_with_its_arguments_and_runs(docker_bench: Bench, tmp_path: Path):
    engine = docker_bench.engine()
    text = f'FROM {BASE}\nARG WORD\nCOPY said /said\nRUN echo "$WORD" >> /said\nENTRYPOINT ["cat", "/said"]\n'
    context(tmp_path, Dockerfile=text, said="hello\n")
    source = BuiltImage(f"mcp-compose-test/{docker_bench.project}:1", tmp_path, args=(("WORD", "world"),))
    told: list[str] = []

    identity = await engine.ensure_image(source, progress=told.append)

    try:
        assert identity == await engine.ensure_image(source)
        _, heard = await docker_bench.talk(engine, docker_bench.spec(source=source, command=None), Values())
        assert (await heard.line(1), await heard.line(2)) == ("hello", "world")
        assert told
    finally:
        await engine.remove_instance(docker_bench.spec().name)
        await engine.remove_image(source.tag)  # type: ignore[attr-defined]


@pytest.mark.docker
async def test_a_build_that_fails_says_its_last_lines(docker_bench: Bench, tmp_path: Path):
    context(tmp_path, Dockerfile=f"FROM {BASE}\nRUN echo the reason && false\n")

    with pytest.raises(BuildFailed, match="the reason"):
        await docker_bench.engine().ensure_image(BuiltImage("mcp-compose-test/bad:1", tmp_path))


@pytest.mark.docker
@pytest.mark.real
@pytest.mark.parametrize(
    ("ecosystem", "requirement", "name"),
    [("pypi", "mcp-server-time", "mcp-time"), ("npm", "@modelcontextprotocol/server-memory", "memory-server")],
)
async def test_a_package_image_speaks_without_network_on_a_read_only_root(
    docker_bench: Bench, ecosystem: Any, requirement: str, name: str
):
    engine = docker_bench.engine()
    source = PackageImage(f"mcp-compose-test/{docker_bench.project}:1", ecosystem, requirement, BASE)
    await engine.ensure_image(source)
    try:
        endpoint, heard = await docker_bench.talk(engine, docker_bench.spec(source=source, command=()), Values())
        endpoint.stream.write(
            b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
            b'"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}\n'
        )
        assert name in await heard.line()
    finally:
        await engine.remove_instance(docker_bench.spec().name)
        await engine.remove_image(source.tag)  # type: ignore[attr-defined]


async def build_steps(engine: Any, marker: str) -> list[str]:
    """The containers in which a build's steps run right now."""
    listed = await engine._client.call("list", lambda api: api.containers())
    return [one["Id"] for one in listed if marker in one["Command"]]


@pytest.mark.docker
async def test_a_silent_build_ends_at_once_when_it_is_cancelled_and_holds_up_nobody(
    docker_bench: Bench, tmp_path: Path
):
    engine, marker = docker_bench.engine(), f"sleep 300 # {docker_bench.project}"
    context(tmp_path, Dockerfile=f"FROM {BASE}\nRUN {marker}\n")
    source = BuiltImage(f"mcp-compose-test/{docker_bench.project}:1", tmp_path)
    task = asyncio.create_task(engine.ensure_image(source))
    async with asyncio.timeout(30):
        while not await build_steps(engine, marker):  # noqa: ASYNC110  the engine's builds have no event
            await asyncio.sleep(0.05)

    async with asyncio.timeout(3):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.close()

    later = docker_bench.engine()
    async with asyncio.timeout(15):
        while await build_steps(later, marker):  # noqa: ASYNC110  the same
            await asyncio.sleep(0.05)
    assert task.cancelled()


@pytest.mark.docker
async def test_a_context_that_is_not_the_approved_one_is_not_built(docker_bench: Bench, tmp_path: Path):
    engine = docker_bench.engine()
    context(tmp_path, Dockerfile=f"FROM {BASE}\n", data="x" * 3_000_000)
    source = BuiltImage(f"mcp-compose-test/{docker_bench.project}:1", tmp_path, digest="another")

    with pytest.raises(BuildFailed, match="changed while it was sent"):
        await engine.ensure_image(source)

    state = await engine.observe(docker_bench.owner, frozenset(), frozenset({source.tag}))
    assert state.images == ()


@pytest.mark.docker
async def test_a_dockerfile_that_makes_no_sense_is_a_failed_build(docker_bench: Bench, tmp_path: Path):
    context(tmp_path, Dockerfile="NONSENSE\n", data="x" * 3_000_000)

    with pytest.raises(BuildFailed, match="NONSENSE"):
        await docker_bench.engine().ensure_image(BuiltImage("mcp-compose-test/bad:1", tmp_path))
