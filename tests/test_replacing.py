"""Files replaced as a whole: which may be, what they keep, and what is left of those who were killed."""

import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from xenmem.replacing import replacing


def write(path: Path | str, text: bytes = b"new") -> None:
    with replacing(path) as file:
        file.write(text)


def test_a_new_file_has_what_the_umask_leaves(tmp_path: Path) -> None:
    for mask in (0o077, 0o022, 0o002):
        before = os.umask(mask)
        try:
            write(tmp_path / f"{mask}")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / f"{mask}").stat().st_mode) == 0o666 & ~mask


def test_permissions_and_owner_stay(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    file.chmod(0o640)
    owner = (12345, 23456) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(file, *owner)
    write(file)
    found = file.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o640, *owner)
    assert file.read_bytes() == b"new"


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("made")
    for name, real in (("link", "real"), ("dangling", "made")):
        write(tmp_path / name)
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / real).read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "link", "made", "real"]


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "loop", Path("/dev/full"), tmp_path / "none" / "n"):
        with pytest.raises(OSError, match=f"{path.name}|none"):
            write(path)
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "loop"]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    with pytest.raises(UnicodeEncodeError), replacing(file) as new:
        new.writelines(text.encode() for text in ("half", "\ud800"))
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127])
def test_long_names(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from xenmem.replacing import replacing\n"
        "with replacing(sys.argv[1]) as file: print(file.write(b'half'), flush=True); time.sleep(60)"
    )
    mine = tmp_path / ".file.backup-1"
    mine.write_bytes(b"the user's own")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path / "file"], stdout=subprocess.PIPE, env=environment)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    dead, alive = processes
    assert len(list(tmp_path.glob(".file.saving-*"))) == 2
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    write(tmp_path / "file")
    assert len(list(tmp_path.glob(".file.saving-*"))) == 1, "of the one that still writes"
    alive.send_signal(signal.SIGKILL)
    alive.wait()
    write(tmp_path / "file", b"newer")
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".file.backup-1", "file"]
    assert (tmp_path / "file").read_bytes() == b"newer"


def test_many_at_once(tmp_path: Path) -> None:
    file, texts = tmp_path / "file", [bytes([65 + number]) * 10_000 for number in range(4)]
    failures: list[BaseException] = []

    def work(text: bytes) -> None:
        try:
            for _ in range(30):
                write(file, text)
                assert file.read_bytes() in texts
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
