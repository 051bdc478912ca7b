"""The watcher against a real file system: saves by rename, replaced folders, links, files that come and go."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcpcompose.config.watch import changes

BOUND = 10


class Watched:
    """Collects what the watcher reports."""

    def __init__(self) -> None:
        self.seen: list[set[Path]] = []
        self._more = asyncio.Event()

    def add(self, changed: set[Path]) -> None:
        self.seen.append(changed)
        self._more.set()

    async def next(self) -> set[Path]:
        async with asyncio.timeout(BOUND):
            while not self.seen:
                self._more.clear()
                await self._more.wait()
        return self.seen.pop(0)


@asynccontextmanager
async def watching(files: Callable[[], Iterable[Path]]) -> AsyncIterator[Watched]:
    watched = Watched()
    found = changes(files)

    async def collect() -> None:
        async for changed in found:
            watched.add(changed)

    task = asyncio.create_task(collect())
    try:
        yield watched
    finally:
        task.cancel()
        async with asyncio.timeout(BOUND):
            await asyncio.gather(task, return_exceptions=True)


def save_by_rename(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text(text)
    temporary.replace(file)


async def test_a_save_in_place_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "mcp-compose.yaml"
    file.write_text("a")
    async with watching(lambda: [file]) as watched:
        file.write_text("bb")
        assert await watched.next() == {file}


async def test_saves_by_rename_are_reported_again_and_again(tmp_path: Path) -> None:
    file = tmp_path / "mcp-compose.yaml"
    file.write_text("a")
    async with watching(lambda: [file]) as watched:
        for number in range(5):
            save_by_rename(file, "x" * number)
            assert await watched.next() == {file}


async def test_a_change_before_the_first_look_is_not_lost(tmp_path: Path) -> None:
    file = tmp_path / "mcp-compose.yaml"
    file.write_text("a")
    found = changes(lambda: [file])
    file.write_text("changed before anyone iterates")
    async with asyncio.timeout(BOUND):
        assert await anext(found) == {file}
    await found.aclose()  # type: ignore[attr-defined]


async def test_a_file_that_is_not_there_yet_is_reported_when_it_comes(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "down" / ".env"
    async with watching(lambda: [file]) as watched:
        file.parent.mkdir(parents=True)
        file.write_text("A=1")
        assert await watched.next() == {file}
        file.write_text("A=12")
        assert await watched.next() == {file}


async def test_a_file_that_goes_and_comes_back_is_reported_both_times(tmp_path: Path) -> None:
    file = tmp_path / "mcp-compose.yaml"
    file.write_text("a")
    async with watching(lambda: [file]) as watched:
        file.unlink()
        assert await watched.next() == {file}
        file.write_text("b")
        assert await watched.next() == {file}


async def test_a_replaced_folder_is_watched_on(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    file = folder / "mcp-compose.yaml"
    file.write_text("a")
    async with watching(lambda: [file]) as watched:
        other = tmp_path / "other"
        other.mkdir()
        (other / file.name).write_text("another")
        folder.rename(tmp_path / "old")
        other.rename(folder)
        assert await watched.next() == {file}
        save_by_rename(file, "again in the new folder")
        assert await watched.next() == {file}


async def test_a_folder_removed_and_made_again_is_watched_on(tmp_path: Path) -> None:
    file = tmp_path / "project" / "mcp-compose.yaml"
    file.parent.mkdir()
    file.write_text("a")
    async with watching(lambda: [file]) as watched:
        shutil.rmtree(file.parent)
        assert await watched.next() == {file}
        file.parent.mkdir()
        file.write_text("b")
        assert await watched.next() == {file}


async def test_what_a_link_leads_to_is_watched(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "real.yaml"
    real.parent.mkdir()
    real.write_text("a")
    link = tmp_path / "project" / "mcp-compose.yaml"
    link.parent.mkdir()
    link.symlink_to(real)
    async with watching(lambda: [link]) as watched:
        save_by_rename(real, "the target changed")
        assert await watched.next() == {link}


async def test_a_link_that_is_pointed_elsewhere_is_reported(tmp_path: Path) -> None:
    """As Kubernetes does with mounted configuration: `..data` is a link to a folder, swapped by rename."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mcp-compose.yaml").write_text(f"{name} {name}")
    (tmp_path / "data").symlink_to("one")
    file = tmp_path / "data" / "mcp-compose.yaml"
    async with watching(lambda: [file]) as watched:
        (tmp_path / "new").symlink_to("two")
        (tmp_path / "new").replace(tmp_path / "data")
        assert await watched.next() == {file}


async def test_other_files_next_to_it_are_not_reported(tmp_path: Path) -> None:
    file = tmp_path / "mcp-compose.yaml"
    file.write_text("a")
    async with watching(lambda: [file]) as watched:
        (tmp_path / "notes.txt").write_text("noise")
        file.write_text("bb")
        assert await watched.next() == {file}
        assert watched.seen == []


async def test_files_that_a_reload_brings_are_watched_from_then_on(tmp_path: Path) -> None:
    first, second = tmp_path / "mcp-compose.yaml", tmp_path / "more" / "part.yaml"
    first.write_text("a")
    second.parent.mkdir()
    second.write_text("b")
    files = [first]
    async with watching(lambda: files) as watched:
        files.append(second)
        first.write_text("include it")
        assert await watched.next() == {first}
        second.write_text("changed")
        assert await watched.next() == {second}


@pytest.mark.parametrize("size", [300])
async def test_a_burst_of_saves_ends_with_the_last_one_reported(tmp_path: Path, size: int) -> None:
    file = tmp_path / "mcp-compose.yaml"
    file.write_text("")
    async with watching(lambda: [file]) as watched:
        for number in range(size):
            save_by_rename(file, "x" * (number + 1))
        await watched.next()
        contents = file.stat().st_size
        assert contents == size


async def test_without_a_watch_left_on_the_system_changes_are_still_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> object:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("watchfiles.awatch", full)
    file = tmp_path / "a.yaml"
    file.write_text("one")
    async with watching(lambda: [file]) as watched:
        await asyncio.sleep(0)
        file.write_text("two two")

        assert await watched.next() == {file}
