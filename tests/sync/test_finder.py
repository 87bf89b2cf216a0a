"""peers.toml while the daemon runs: a change is seen, a mistake is told and changes nothing."""

import logging
from pathlib import Path

import pytest

from claire.sync.discovery import Suggestion
from claire.sync.finder import Finder


@pytest.fixture
def finder(tmp_path: Path) -> Finder:
    return Finder(str(tmp_path / "peers.toml"), lambda: [Suggestion("http://lan:1", "id")])


def write(finder: Finder, text: str) -> None:
    Path(finder.peers_file).write_text(text)
    finder.read_file()


def test_a_change_is_seen_and_a_mistake_keeps_the_old_list(finder: Finder, caplog: pytest.LogCaptureFixture) -> None:
    finder.read_file()
    assert finder.suggestions() == [Suggestion("http://lan:1", "id")]
    write(finder, '[[peer]]\nurl = "a"')
    assert finder.listed == [Suggestion("http://a:8766")]
    with caplog.at_level(logging.ERROR):
        write(finder, '[[peer]]\nurl = "a"\n[[peer]]\nurl = 12345')
        finder.read_file()
    assert [record.message for record in caplog.records if "line 4: key 'url'" in record.message] == caplog.messages
    assert len(caplog.records) == 1
    assert finder.listed == [Suggestion("http://a:8766")]
    write(finder, '[[peer]]\nurl = "bb"')
    assert finder.suggestions()[0] == Suggestion("http://bb:8766")
    Path(finder.peers_file).unlink()
    finder.read_file()
    assert finder.listed == []


def test_bytes_that_are_no_text_keep_the_old_list(finder: Finder) -> None:
    write(finder, '[[peer]]\nurl = "a"')
    Path(finder.peers_file).write_bytes(b"\xff\xfe")
    finder.read_file()
    assert finder.listed == [Suggestion("http://a:8766")]
