"""The examples of the page about the file load, each section as one project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mcpcompose.config.load import Loaded, Request, load

PAGE = Path(__file__).parent.parent.parent / "docs" / "compose-file.md"
FENCE = re.compile(r"^```(?:yaml|env)\n# ([\w./-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections() -> dict[str, str]:
    found = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: part for part in found if FENCE.search(part)}


def project(section: str, folder: Path) -> Loaded:
    for name, text in FENCE.findall(section):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    named = re.findall(r"-f (\S+)", section) if "$ mcp-compose -f" in section else ["mcp-compose.yaml"]
    files = tuple(folder / name for name in dict.fromkeys(named) if name.endswith(".yaml"))
    return load(Request(files=files, directory=folder, environ={}, home=folder / "home"))


@pytest.mark.parametrize("name", sections())
def test_the_examples_of_a_section_load(name: str, tmp_path: Path) -> None:
    assert project(sections()[name], tmp_path).project.servers


def test_there_are_examples_of_all_of_the_language() -> None:
    assert len(sections()) >= 8


def test_what_the_page_says_of_extending_is_so(tmp_path: Path) -> None:
    servers = project(sections()["One server from another: `extends`"], tmp_path).project.servers

    assert servers["search-fr"].environment == {"REGION": "fr", "CACHE": "/cache"}
    assert [volume.source for volume in servers["search-fr"].volumes] == ["cache-fr"]
    assert servers["search-fr"].mem_limit == 512 << 20
    assert (servers["search-jp"].image, servers["search-jp"].pids_limit) == ("acme/search-jp:2", 64)


def test_what_the_page_says_of_several_files_is_so(tmp_path: Path) -> None:
    crm = project(sections()["Several files: `-f`"], tmp_path).project.servers["crm"]

    assert crm.environment == {"MODE": "test"}
    assert [(volume.source, volume.read_only) for volume in crm.volumes] == [(str(tmp_path / "fixtures"), True)]


def test_what_the_page_says_of_explaining_is_so(tmp_path: Path) -> None:
    found = project(sections()["Several files: `include`"], tmp_path)
    shown = re.search(r"--explain servers.crm.image\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None

    origin = found.origin("servers.crm.image")

    lines = [f"servers.crm.image: {origin.value}", f"  --> {origin}", *(f"      {note}" for note in origin.notes)]
    said = "\n".join(lines).replace(f"{tmp_path}/", "")
    assert re.sub(r":\d+:\d+", "", said) == re.sub(r":\d+:\d+", "", shown[1]).rstrip("\n")


def test_what_the_page_says_of_interceptors_is_so(tmp_path: Path) -> None:
    loaded = project(sections()["Around every request: `interceptors`"], tmp_path).project

    assert [one.label for one in loaded.interceptors] == ["secret-scan", "session-pin", "approve", "second-look"]
    assert loaded.session.idle == 3600
    assert loaded.audit.sync == "always"


def test_every_page_is_in_the_index() -> None:
    index = (PAGE.parent / "README.md").read_text()

    assert [page.name for page in PAGE.parent.glob("*.md") if f"({page.name}" not in index] == ["README.md"]
