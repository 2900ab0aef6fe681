"""Saves that are killed at random moments: the file is whole, nothing acknowledged is lost, nothing is left behind."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 200
SCRIPT = """
import os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from dumps import pool
import io, json
import xenmem

link, target, kills = Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
session = xenmem.connect(io.BytesIO(json.dumps(pool()).encode()), seed=1)
database = session.pool.database
from xenmem.xenapi.store import saving
draw, saved = random.Random(1), 0
for kill in range(kills):
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        for number in range(saved + 1, saved + 1000):
            database.write(database.the_pool, "name_label", str(number))
            saving.save(database, link, saving.FORMATS[number % 2])
            os.write(tell, number.to_bytes(4, "big"))
        os._exit(0)
    os.close(tell)
    time.sleep(draw.uniform(0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    acknowledged = b""
    while piece := os.read(told, 65536):
        acknowledged += piece
    os.close(told)
    least = int.from_bytes(acknowledged[-4:], "big") if acknowledged else saved
    if least or target.stat().st_size:
        found = int(xenmem.connect(target).pool.database.the_pool.name_label)
        assert least <= found <= least + 1, (least, found)
        saved = found
saving.save(database, link)
print(saved)
"""


@pytest.mark.slow
def test_a_save_that_is_killed(tmp_path: Path) -> None:
    """Through a link, into a file with permissions of its own, under a umask that would leave others."""
    target, link = tmp_path / "folder" / "pool", tmp_path / "link"
    target.parent.mkdir()
    target.touch()
    target.chmod(0o640)
    link.symlink_to(target)
    owner = target.stat().st_uid
    here = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(here), str(link), str(target), str(KILLS)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        preexec_fn=lambda: os.umask(0o077),
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0, "some saves came to their end"
    assert [path.name for path in target.parent.iterdir()] == ["pool"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link"]
    assert link.is_symlink()
    assert (stat.S_IMODE(target.stat().st_mode), target.stat().st_uid) == (0o640, owner)
