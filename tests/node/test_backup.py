"""A backup is whole, private, and the way back; what it does not hold comes back by itself."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from claire.config import Home
from claire.node import backup, projects
from claire.node.errors import Corrupt, NewerSchema, NotFound, Refused, StorageError
from claire.node.node import Node
from tests.node.test_node import sound, spawn


def names(node: Node) -> set[str]:
    with node.reading() as db:
        return {row["name"] for row in projects.list_projects(db)}


def test_a_backup_while_others_write_is_whole(node: Node, tmp_path: Path) -> None:
    project = projects.create(node, "api")["id"]
    writer = spawn(node, project, 300)
    assert writer.stdout is not None
    writer.stdout.readline()
    made = backup.make(node, str(tmp_path / "b.db"))
    writer.communicate()
    home = Home.from_env({"CLAIRE_HOME": str(tmp_path / "elsewhere")})
    os.makedirs(home.config)
    shutil.copy(node.home.key_file, home.key_file)
    assert backup.restore(home, made["path"], 0)["events"] == made["events"] < 300
    with Node(home) as restored:
        sound(restored)
        projects.create(restored, "after")


def test_d7_a_restored_backup_keeps_what_was_there(node: Node, tmp_path: Path) -> None:
    projects.create(node, "before")
    path = backup.make(node, str(tmp_path / "b.db"))["path"]
    projects.create(node, "after")
    node.close()
    done = backup.restore(node.home, path, 0)
    with Node(node.home) as restored:
        assert names(restored) == {"before"}
        sound(restored)
    with sqlite3.connect(done["kept"]) as kept:
        assert kept.execute("SELECT count(*) FROM projects").fetchone() == (2,)
    kept.close()


def test_t14_a_backup_alone_is_not_the_node(node: Node, tmp_path: Path) -> None:
    projects.create(node, "api")
    path = backup.make(node, str(tmp_path / "b.db"))["path"]
    assert node.identity.key.private_bytes_raw().hex() not in Path(path).read_bytes().hex()
    assert os.stat(path).st_mode & 0o777 == 0o600
    home = Home.from_env({"CLAIRE_HOME": str(tmp_path / "thief")})
    assert not backup.restore(home, path, 0)["key"]
    with Node(home) as thief:
        assert names(thief) == {"api"}
        with pytest.raises(StorageError, match="is missing"):
            projects.create(thief, "forged")


def test_with_its_key_it_is(node: Node, tmp_path: Path) -> None:
    made = backup.make(node, str(tmp_path / "b.db"), with_key=True)
    home = Home.from_env({"CLAIRE_HOME": str(tmp_path / "moved")})
    backup.restore(home, made["path"], 0)
    with Node(home) as moved:
        projects.create(moved, "api")
    assert os.stat(home.key_file).st_mode & 0o777 == 0o600


def test_w9_what_another_user_has_put_in_the_way_is_not_written_into(node: Node, tmp_path: Path) -> None:
    """In a folder that is everybody's: a link to a file of ours, or a file of theirs under that name."""
    ours, theirs = tmp_path / "ours", tmp_path / "open.db.new"
    ours.write_text("precious")
    (tmp_path / "link.db.new").symlink_to(ours)
    theirs.touch(0o666)
    theirs.chmod(0o666)
    kept_open = theirs.open()
    for name in ("link.db", "open.db"):
        backup.make(node, str(tmp_path / name))
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert (ours.read_text(), kept_open.read()) == ("precious", "")
    kept_open.close()


def test_one_time_codes_and_cookies_stay_behind(node: Node, tmp_path: Path) -> None:
    with node.writing() as tx:
        tx.db.execute("INSERT INTO logins VALUES ('cafe' || hex(randomblob(8)) || 'cafe', 'cookie', 1, 0)")
        (secret,) = tx.db.execute("SELECT hash FROM logins").fetchone()
    path = backup.make(node, str(tmp_path / "b.db"))["path"]
    assert secret.encode() not in Path(path).read_bytes()


def test_what_cannot_be_restored_is_said_and_nothing_touched(make_node: Callable[..., Node], tmp_path: Path) -> None:
    one, other = make_node("one"), make_node("other")
    path = backup.make(other, str(tmp_path / "b.db"))["path"]
    with pytest.raises(Refused, match="there already"):
        backup.make(other, path)
    with pytest.raises(Refused, match="another node's key"):
        backup.restore(one.home, path, 0)
    with pytest.raises(NotFound):
        backup.restore(one.home, str(tmp_path / "nothing"), 0)
    for damage, error in ((lambda b: b[:5000], Corrupt), (lambda b: b"", Corrupt), (newer, NewerSchema)):
        bad = tmp_path / "bad.db"
        bad.write_bytes(damage(Path(path).read_bytes()))
        with pytest.raises(error) as caught:
            backup.restore(other.home, str(bad), 0)
        assert "recover" not in caught.value.hint  # it is the backup that is damaged, not what is here
    sound(one)
    sound(other)


def newer(database: bytes) -> bytes:
    return database[:60] + (99).to_bytes(4, "big") + database[64:]
