"""A large catalog is read once, then looked up in what was kept, which is believed only while it is whole."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from harness.shelf import Shelf
from mcpcompose.catalog.index import Index, judge, open_index
from mcpcompose.catalog.marked import NotReadable
from mcpcompose.config.catalog_tree import parse_yaml
from mcpcompose.errors import FetchFailed

USED = 5


def large(count: int) -> str:
    lines = ["catalog: 1", "title: Large", "servers:"]
    for index in range(count):
        lines += [
            f"  server-{index:04}:",
            f"    title: Server {index}",
            f"    description: Does the thing number {index} for people who need it done, again and again.",
            f"    tags: [tag-{index % 7}, things]",
            "    tools: [" + ", ".join(f"tool_{index}_{tool}" for tool in range(12)) + "]",
            "    config: {type: object, properties: {where: {type: string, default: here}}}",
            "    server:",
            f"      image: acme/server-{index}:1",
            "      environment: {WHERE: '${config:where}', MODE: fast}",
        ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    shelf = Shelf(tmp_path_factory.mktemp("big"))
    (shelf.folder / "catalog.yaml").write_text(large(2000))
    shelf.load(PROJECT)  # the first time
    return shelf


PROJECT = "catalogs: {c: ./catalog.yaml}\nservers:\n" + "".join(
    f"  s{index}: {{from: c/server-{index * 399:04}, config: {{where: there}}}}\n" for index in range(USED)
)


def best(work: object, times: int = 5) -> float:
    def once() -> float:
        start = time.perf_counter()
        work()  # type: ignore[operator]
        return time.perf_counter() - start

    return min(once() for _ in range(times))


def test_a_project_with_five_of_two_thousand_servers_loads_in_under_200_ms(big: Shelf) -> None:
    assert best(lambda: big.load(PROJECT)) < 0.2
    assert len(big.load(PROJECT).project.servers) == USED


def test_two_thousand_servers_cost_little_more_than_twenty(big: Shelf, tmp_path: Path) -> None:
    small = Shelf(tmp_path)
    (tmp_path / "catalog.yaml").write_text(large(2000).partition("  server-0020:")[0])
    text = PROJECT.replace("0399", "0003").replace("0798", "0007").replace("1197", "0011").replace("1596", "0015")
    small.load(text)

    assert best(lambda: big.load(PROJECT)) < best(lambda: small.load(text)) + 0.1


def test_a_search_over_two_thousand_servers_takes_under_200_ms(big: Shelf) -> None:
    from mcpcompose.actions.catalog import Catalogs
    from mcpcompose.actions.locate import locate
    from mcpcompose.actions.options import Options

    options = Options(directory=big.folder, home=big.folder, environ={"MCP_COMPOSE_HOME": str(big.folder / "home")})
    place = locate(options)

    def search() -> list[str]:
        return [one.name for _, one in Catalogs(place).search(["thing", "tag-2", "tool_1500_3"])]

    assert search() == ["server-1500"]
    assert best(search) < 0.2


def kept(folder: Path) -> Path:
    (file,) = folder.glob("*.index")
    return file


def opened(text: str, folder: Path) -> Index:
    return open_index(text.encode(), folder, parse_yaml)


def never(_: bytes) -> object:
    raise AssertionError("it was read again")


def test_the_second_time_nothing_is_parsed(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "indexes"
    first = opened(large(3), folder)
    second = open_index(large(3).encode(), folder, never)  # type: ignore[arg-type]

    assert second.names() == first.names()
    assert second.entry("server-0001") == first.entry("server-0001")
    assert second.summaries() == first.summaries()


def test_what_is_kept_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "indexes"
    opened(large(1), folder)

    modes = [stat.S_IMODE(one.stat().st_mode) for one in (folder.parent, folder, kept(folder))]
    assert modes == [0o700, 0o700, 0o600]


@pytest.mark.parametrize("spoil", ["flip", "cut", "empty", "nonsense", "version", "other", "folder"])
def test_what_is_spoilt_is_made_again(tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "c" / "indexes"
    opened(large(5), folder)
    file = kept(folder)
    whole = file.read_bytes()
    match spoil:
        case "flip":
            file.write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
        case "cut":
            file.write_bytes(whole[: len(whole) // 2])
        case "empty":
            file.write_bytes(b"")
        case "nonsense":
            file.write_bytes(os.urandom(1000))
        case "version":
            file.write_bytes(whole.replace(b"[1,", b"[999,", 1))
        case "other":
            opened(large(6), tmp_path / "d" / "indexes")
            file.write_bytes(kept(tmp_path / "d" / "indexes").read_bytes())
        case "folder":
            file.unlink()
            file.mkdir()

    index = opened(large(5), folder)

    assert len(index.names()) == 5
    assert index.entry("server-0004") is not None
    if spoil != "folder":
        assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert len(opened(large(2), tmp_path / "file" / "indexes").names()) == 2


def test_a_changed_catalog_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "indexes"
    opened(large(2), folder)

    assert len(opened(large(3), folder).names()) == 3


def test_the_format_that_is_known_from_elsewhere_is_the_one_it_is_read_as(tmp_path: Path) -> None:
    with pytest.raises(NotReadable):
        open_index(b'{"catalog": 1}', tmp_path / "i", parse_yaml, "registry")


def test_what_was_made_long_ago_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "c" / "indexes"
    opened(large(1), folder)
    old = kept(folder)
    os.utime(old, (0, 0))

    opened(large(2), folder)

    assert kept(folder) != old


@pytest.mark.parametrize("text", [
    '{"catalog": 1, "title": "\\ud800", "servers": {}}',
    '{"catalog": 1, "servers": {"a": {"server": {"image": "x/y:1"}, "description": "\\ud800"}}}',
    '{"registry": {"a": {"image": "\\udfff"}}}',
])  # fmt: skip
def test_half_a_character_is_refused_as_any_other_broken_catalog(text: str) -> None:
    with pytest.raises(FetchFailed, match="half a character"):
        judge(text.encode(), parse_yaml)
