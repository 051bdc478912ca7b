"""Files of client applications on a real disk: what is kept, what is refused, and that nothing is ever lost."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mcpcompose.clients import client_lock, edit, write
from mcpcompose.clients.edit import Unreadable
from mcpcompose.clients.write import ChangedMeanwhile, NotWritable

TEXT = '{\n  "a": 1\n}\n'


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    return tmp_path / "state" / "backups"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def file_in(home: Path, content: str | bytes = TEXT, mode: int = 0o644) -> Path:
    file = home / "client.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    file.chmod(mode)
    return file


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664])
def test_a_file_keeps_its_mode_and_leaves_nothing_beside_it(home: Path, backups: Path, mode: int) -> None:
    file = file_in(home, mode=mode)

    saved = write.save(write.load(file), "{}", backups)

    assert (file.read_text(), mode_of(file)) == ("{}", mode)
    assert names_in(home) == ["client.json"]
    assert saved.backup
    assert (saved.backup.read_text(), mode_of(saved.backup)) == (TEXT, 0o600)


@pytest.mark.parametrize(
    "content", [b"\xef\xbb\xbf{}\r\n", b'\xef\xbb\xbf{"a": 1}', b"{}\r\n", b"{}", b'{"a":"\xf0\x9f\x98\x80"}\n']
)
def test_byte_order_mark_and_line_ends_come_back(home: Path, backups: Path, content: bytes) -> None:
    file = file_in(home, content)
    state = write.load(file)
    undo = edit.undo("json", state.text, ("mcpServers",))

    write.save(state, edit.put("json", state.text, ("mcpServers",), "x", {"url": "u"}), backups)
    changed = file.read_bytes()
    after = write.load(file)
    write.save(after, edit.remove("json", after.text, ("mcpServers",), "x", undo=undo), backups)

    assert changed.startswith(b"\xef\xbb\xbf") == content.startswith(b"\xef\xbb\xbf")
    assert changed.count(b"\n") == changed.count(b"\r\n") or b"\r\n" not in content
    assert file.read_bytes() == content


def test_a_secret_closes_the_file_to_others(home: Path, backups: Path) -> None:
    file = file_in(home, mode=0o664)

    write.save(write.load(file), "{}", backups, private=True)

    assert mode_of(file) == 0o600


def test_a_new_file_is_the_owners_alone_and_erasing_it_takes_its_folders_too(home: Path, backups: Path) -> None:
    file = home / ".client" / "deep" / "mcp.json"
    state = write.load(file)
    assert (state.exists, state.text) == (False, "")

    saved = write.save(state, "{}\n", backups)
    modes = mode_of(file), mode_of(file.parent)
    write.erase(write.load(file), backups, made=saved.made)

    assert modes == (0o600, 0o700)
    assert saved.made == (home / ".client", home / ".client" / "deep")
    assert names_in(home) == []


def test_folders_that_hold_something_else_by_now_stay(home: Path, backups: Path) -> None:
    file = home / ".client" / "mcp.json"
    saved = write.save(write.load(file), "{}\n", backups)
    (home / ".client" / "theirs").write_text("x")

    write.erase(write.load(file), backups, made=saved.made)

    assert names_in(home / ".client") == ["theirs"]


def test_a_symbolic_link_stays_one_and_its_target_is_replaced(home: Path, backups: Path) -> None:
    dotfiles = home / "dotfiles"
    dotfiles.mkdir()
    real = file_in(dotfiles)
    link = home / "client.json"
    link.symlink_to(real)

    write.save(write.load(link, within=home), "{}", backups)

    assert link.is_symlink()
    assert real.read_text() == "{}"
    assert names_in(dotfiles) == ["client.json"]


def test_a_link_out_of_the_folder_it_belongs_in_is_refused(home: Path, tmp_path: Path) -> None:
    outside = file_in(tmp_path)
    project = home / "project"
    (project / "real").mkdir(parents=True)
    (project / ".mcp.json").symlink_to(outside)
    (project / ".vscode").symlink_to(tmp_path)

    for name in (".mcp.json", ".vscode/client.json", ".vscode/new.json"):
        with pytest.raises(NotWritable, match="outside"):
            write.load(project / name, within=project)

    assert outside.read_text() == TEXT


def _fifo(home: Path) -> Path:
    os.mkfifo(home / "client.json")
    return home / "client.json"


def _loop(home: Path) -> Path:
    (home / "client.json").symlink_to(home / "other")
    (home / "other").symlink_to(home / "client.json")
    return home / "client.json"


def _dangling(home: Path) -> Path:
    (home / "client.json").symlink_to(home / "nowhere")
    return home / "client.json"


def _folder(home: Path) -> Path:
    (home / "client.json").mkdir()
    return home / "client.json"


def _hard_link(home: Path) -> Path:
    file = file_in(home)
    (home / "twin").hardlink_to(file)
    return file


def _device(home: Path) -> Path:
    (home / "client.json").symlink_to("/dev/null")
    return home / "client.json"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_fifo, "not a regular file"),
        (_folder, "not a regular file|cannot be read"),
        (_device, "not a regular file"),
        (_loop, "symbolic link"),
        (_dangling, "does not exist"),
        (_hard_link, "2 hard links"),
        (lambda home: file_in(home, mode=0o444), "read-only"),
        (lambda home: file_in(home, b" " * (write.MAX_BYTES + 1)), "larger than 16 MiB"),
    ],
)
def test_what_is_no_ordinary_file_of_ours_is_refused(home: Path, make: object, said: str) -> None:
    file = make(home)  # type: ignore[operator]
    before = names_in(home)

    with pytest.raises(NotWritable, match=said):
        write.load(file)

    assert names_in(home) == before


@pytest.mark.parametrize("content", ["{}".encode("utf-16"), b'{"a": "\xe9"}', b"\xff\xfe{\0}\0"])
def test_what_is_not_utf_8_is_refused(home: Path, content: bytes) -> None:
    file = file_in(home, content)

    with pytest.raises(Unreadable):
        write.load(file)

    assert file.read_bytes() == content


@pytest.mark.parametrize("text", ['{"by": "another"}', TEXT.replace("1", "2")])
def test_a_file_that_another_program_wrote_meanwhile_is_not_overwritten(home: Path, backups: Path, text: str) -> None:
    file = file_in(home)
    state = write.load(file)
    file.write_text(text)
    os.utime(file, ns=(1, 1))

    with pytest.raises(ChangedMeanwhile):
        write.save(state, "{}", backups)

    assert file.read_text() == text
    assert names_in(home) == ["client.json"]


def test_a_file_that_appeared_or_went_meanwhile_is_not_overwritten(home: Path, backups: Path) -> None:
    state = write.load(home / "client.json")
    file = file_in(home)
    with pytest.raises(ChangedMeanwhile):
        write.save(state, "{}", backups)
    assert file.read_text() == TEXT

    state = write.load(file)
    file.unlink()
    with pytest.raises(ChangedMeanwhile):
        write.save(state, "{}", backups)
    assert names_in(home) == []


def test_a_link_that_leads_elsewhere_by_now_is_noticed(home: Path, backups: Path) -> None:
    (home / "one").write_text(TEXT)
    (home / "two").write_text(TEXT)
    link = home / "client.json"
    link.symlink_to(home / "one")
    state = write.load(link)
    link.unlink()
    link.symlink_to(home / "two")

    with pytest.raises(ChangedMeanwhile):
        write.save(state, "{}", backups)


def test_a_change_is_made_on_what_is_there_when_it_is_written(home: Path, backups: Path) -> None:
    file = file_in(home)
    others = iter(['{"other": 1}', '{"other": 2}'])

    def function(state: write.FileState) -> str:
        if text := next(others, None):
            file.write_text(text)
        return edit.put("json", state.text, (), "x", {"url": "u"})

    write.change(file, function, backups)

    assert edit.read("json", file.read_text()) == {"other": 2, "x": {"url": "u"}}


def test_a_change_that_changes_nothing_writes_nothing(home: Path, backups: Path) -> None:
    file = file_in(home)
    before = file.stat()

    state, saved = write.change(file, lambda state: state.text, backups)

    assert (state.text, saved) == (TEXT, None)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert not backups.exists()


def test_a_file_that_never_stands_still_is_given_up(home: Path, backups: Path) -> None:
    file = file_in(home)
    count = iter(range(100))

    def function(state: write.FileState) -> str:
        file.write_text(f'{{"n": {next(count)}000}}')
        return "{}"

    with pytest.raises(ChangedMeanwhile):
        write.change(file, function, backups)


def test_the_last_ten_backups_of_a_file_are_kept(home: Path, backups: Path) -> None:
    file = file_in(home)
    (home / "other").write_text("other")
    write.save(write.load(home / "other"), "x", backups)

    for number in range(13):
        write.save(write.load(file), f'{{"n": {number}}}', backups)

    texts = [path.read_text() for path in sorted(backups.glob("*client.json"))]
    assert texts == [f'{{"n": {number}}}' for number in range(2, 12)]
    assert len(list(backups.glob("*other"))) == 1


def test_a_folder_that_cannot_be_written_to_leaves_the_file_as_it_is(home: Path, backups: Path) -> None:
    """Root may write everywhere, so a name too long for the file system stands in for it."""
    file = home / ("n" * 250)
    file.write_text(TEXT)
    state = write.load(file)

    with pytest.raises(NotWritable, match="cannot be written"):
        write.save(state, "{}", backups)

    assert file.read_text() == TEXT


FULL = """
import resource, signal, sys
from pathlib import Path
from mcpcompose.clients import write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
state = write.load(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), -1))
try:
    write.save(state, "NEW" * 10000, Path(sys.argv[2]))
except write.NotWritable as error:
    print(error)
"""


@pytest.mark.parametrize(("room", "said"), [(5, "no backup"), (5000, "cannot be written: File too large")])
def test_a_disk_that_is_full_loses_nothing(home: Path, backups: Path, room: int, said: str) -> None:
    file = file_in(home)

    run = subprocess.run(
        [sys.executable, "-c", FULL, str(file), str(backups), str(room)], capture_output=True, check=True, text=True
    )

    assert said in run.stdout
    assert (file.read_text(), names_in(home)) == (TEXT, ["client.json"])


def test_a_value_that_is_no_text_is_refused(home: Path, backups: Path) -> None:
    file = file_in(home)

    with pytest.raises(NotWritable, match="not Unicode"):
        write.save(write.load(file), '{"a": "\udcff"}', backups)

    assert file.read_text() == TEXT


KILLED = """
import os, sys
from pathlib import Path
from mcpcompose.clients import write
count = int(sys.argv[2])
seen = 0
def trace(frame, event, argument):
    global seen
    if frame.f_code.co_filename.endswith("write.py") and event == "line":
        seen += 1
        if seen == count:
            os.kill(os.getpid(), 9)
    return trace
state = write.load(Path(sys.argv[1]))
sys.settrace(trace)
write.save(state, "NEW" * 10000, Path(sys.argv[3]))
sys.settrace(None)
print("done")
"""


def test_killed_at_any_line_the_file_is_the_old_one_or_the_new_one(home: Path, backups: Path) -> None:
    seen = set()
    for count in range(1, 400, 4):
        file = file_in(home)
        run = subprocess.run(
            [sys.executable, "-c", KILLED, str(file), str(count), str(backups)], capture_output=True, check=False
        )
        seen.add(file.read_text())
        if run.stdout:
            break
    else:
        pytest.fail("it never came to an end")

    assert seen == {TEXT, "NEW" * 10000}


def test_two_writers_at_once_lose_nothing(home: Path, backups: Path) -> None:
    file = file_in(home, "{}")

    def writer(name: str) -> None:
        for number in range(10):
            with client_lock.held(file, client_lock.DIRECTORY, patience=60):
                write.change(
                    file,
                    lambda state: edit.put("json", state.text, (), f"{name}{number}", {"n": number}),  # noqa: B023
                    backups,
                )

    threads = [threading.Thread(target=writer, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(edit.read("json", file.read_text())) == 30
    assert names_in(home) == ["client.json"]


WRITER = """
import sys
from pathlib import Path
from mcpcompose.clients import edit, write
file, name = Path(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
for number in range(5):
    write.change(file, lambda state: edit.put("json", state.text, (), f"{name}-{number}", {}), Path(sys.argv[3]) / name)
"""


def test_writers_of_twenty_projects_into_one_file_all_arrive(home: Path, backups: Path) -> None:
    file = file_in(home, "{}")
    words = [sys.executable, "-c", WRITER, str(file)]
    writers = [
        subprocess.Popen([*words, f"p{number}", str(backups)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in range(20)
    ]
    for writer in writers:
        assert writer.stdin
        writer.stdin.write("go\n")
        writer.stdin.flush()
    said = [writer.communicate(timeout=100)[1] for writer in writers]

    assert said == [""] * 20
    assert len(edit.read("json", file.read_text())) == 100
    assert names_in(home) == ["client.json"]


def test_the_lock_folder_of_a_client_is_waited_for_and_gone_afterwards(home: Path) -> None:
    file = file_in(home)
    lock = home / "client.json.lock"
    lock.mkdir()
    with pytest.raises(client_lock.ClientBusy), client_lock.held(file, client_lock.DIRECTORY, patience=0.1):
        pytest.fail("somebody else has it")

    timer = threading.Timer(0.2, lock.rmdir)
    timer.start()
    with client_lock.held(file, client_lock.DIRECTORY, patience=30):
        assert lock.is_dir()

    assert not lock.exists()


def test_a_lock_folder_that_nobody_renews_is_taken_over(home: Path) -> None:
    file = file_in(home)
    lock = home / "client.json.lock"
    lock.mkdir()
    os.utime(lock, (0, 0))

    with client_lock.held(file, client_lock.DIRECTORY, patience=0.5):
        assert lock.is_dir()

    assert not lock.exists()


def test_the_lock_file_of_a_client_is_waited_for_and_left(home: Path) -> None:
    import fcntl

    file = file_in(home)
    lock = home / ".mcp-writer.lock"
    lock.touch()
    with lock.open("r+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(client_lock.ClientBusy), client_lock.held(file, client_lock.FILE, patience=0.1):
            pytest.fail("somebody else has it")

    with client_lock.held(file, client_lock.FILE, patience=0.5):
        pass

    assert names_in(home) == [".mcp-writer.lock", "client.json"]
