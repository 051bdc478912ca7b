"""Files that change between the look at them and their use."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from mcpcompose.engine import build
from mcpcompose.engine.base import BuiltImage, InstanceSpec, Mount, RegistryImage, Stdio
from mcpcompose.engine.build import context_digest, context_tar
from mcpcompose.engine.danger import launchable
from mcpcompose.errors import BuildFailed, DangerRefused

if TYPE_CHECKING:
    from conftest import Bench


def test_a_context_that_changed_after_it_was_approved_is_not_sent_whole(tmp_path: Path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    approved = context_digest(tmp_path, "Dockerfile")
    whole = b"".join(context_tar(tmp_path, "Dockerfile", expected=approved))
    (tmp_path / "Dockerfile").write_text("FROM scratcH\n")

    sent = context_tar(tmp_path, "Dockerfile", expected=approved)

    with pytest.raises(BuildFailed, match="changed while it was sent"):
        b"".join(sent)
    assert whole.endswith(b"\0" * 1024)


def test_a_file_of_the_context_that_becomes_a_link_is_not_followed(tmp_path: Path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "secret").write_text("x" * 100)
    sent = context_tar(tmp_path, "Dockerfile")
    entry = build.Entry("Dockerfile", tmp_path / "Dockerfile")
    pieces = build._archived(entry, build._Digest("Dockerfile"))
    next(pieces)
    (tmp_path / "Dockerfile").unlink()
    (tmp_path / "Dockerfile").symlink_to("secret")

    with pytest.raises(BuildFailed, match="cannot be read"):
        list(pieces)
    sent.close()


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_an_unreadable_file_of_the_context_is_named(tmp_path: Path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(0)

    with pytest.raises(BuildFailed, match="`a` of the build context cannot be read"):
        context_digest(tmp_path, "Dockerfile")


def test_a_context_without_an_end_is_refused_before_it_is_read(tmp_path: Path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(BuildFailed, match="GiB") as refused:
        context_digest(tmp_path, "Dockerfile")
    assert "dockerignore" in str(refused.value.hint)


def test_a_mount_that_leads_elsewhere_than_when_it_was_judged_is_not_launched(tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "outside").mkdir()
    real = str(tmp_path / "data")
    mount = Mount("bind", real, "/x", real=real)
    spec = InstanceSpec("p-a-1", "a", RegistryImage("x:1"), Stdio(), (), mounts=(mount,))
    assert launchable(spec, home=Path("/home/ann")).mounts[0].source == real
    (tmp_path / "data").rmdir()
    (tmp_path / "data").symlink_to("outside")

    with pytest.raises(DangerRefused, match="leads to"):
        launchable(spec, home=Path("/home/ann"))


@pytest.mark.docker
async def test_a_mount_that_became_a_link_is_not_followed_at_a_later_start(docker_bench: Bench, tmp_path: Path):
    (tmp_path / "data").mkdir()
    (tmp_path / "outside").mkdir()
    engine = docker_bench.engine()
    spec = docker_bench.spec(mounts=(Mount("bind", str(tmp_path / "data"), "/x"),))
    await engine.create_instance(spec, docker_bench.values())
    (tmp_path / "data").rmdir()
    (tmp_path / "data").symlink_to("outside")

    with pytest.raises(DangerRefused, match="leads to"):
        await engine.start_instance(spec.name, docker_bench.values())


@pytest.mark.docker
async def test_a_context_that_is_not_the_approved_one_is_not_built(docker_bench: Bench, tmp_path: Path):
    base = docker_bench.spec().source
    assert isinstance(base, RegistryImage)
    (tmp_path / "Dockerfile").write_text(f"FROM {base.ref}\n")
    source = BuiltImage(f"mcp-compose-test/changed:{uuid4().hex[:8]}", tmp_path, digest="0" * 64)
    engine = docker_bench.engine()

    with pytest.raises(BuildFailed, match="changed while it was sent"):
        await engine.ensure_image(source)

    try:
        assert await engine.ensure_image(replace(source, digest=context_digest(tmp_path, "Dockerfile")))
    finally:
        await engine.remove_image(source.tag)  # type: ignore[attr-defined]
