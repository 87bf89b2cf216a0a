"""Parsers of what names addresses: exact about our own file, indifferent to what others say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claire.node.errors import UsageError
from claire.sync.discovery import (
    ADDRESSES_MAX,
    Suggestion,
    address_book,
    on_tailnet,
    read_mdns,
    read_peers,
    read_tailscale,
    url_of,
)

MACHINE = "7f9a3c2b-1a4d-8e7f-9c2b-3d8a1e4f6c5b"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("apricot", "http://apricot:8766"),
        ("Apricot:9", "http://apricot:9"),
        ("https://apricot.ts.net", "https://apricot.ts.net:8766"),
        ("http://100.64.0.1:8766/", "http://100.64.0.1:8766"),
        ("[fd7a::1]:9", "http://[fd7a::1]:9"),
        ("[fd7a::1]", "http://[fd7a::1]:8766"),
    ],
)
def test_addresses_as_people_write_them(text: str, url: str) -> None:
    assert url_of(text) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "ftp://a", "a b", "http://u@h", "http://h/path", "h?x", "h:99999", "h:x", "fd7a::1", "http://"),
        *("999.1.1.1", "a..b", ".", 64 * "x"),  # at these httpx or the resolver would raise
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):
        url_of(text)


def test_peers_file() -> None:
    text = f"""
    # my hosts
    [[peer]]
    url = "http://apricot:8766"

    [[peer]]
    url = "plum"
    name = "plum"
    id = "{MACHINE}"
    """
    assert read_peers(text) == [
        Suggestion("http://apricot:8766"),
        Suggestion("http://plum:8766", MACHINE, "plum"),
    ]
    assert read_peers("") == []


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ('[[peer]]\nurl = "a"\n[[peer]]\nname = "b"\nurl = 7', 5, "url"),
        ('[[peer]]\nurl = "a"\n\n[[peer]]\nname = "b"', 4, "url"),
        ('[[peer]]\nurl = "a"\ncolour = "red"', 3, "colour"),
        ('[[peer]]\nurl = "a/b"', 2, "url"),
        ('[[peer]]\nurl = "a"\nid = "x"', 3, "id"),
        ('[[peer]]\nurl = "a"\n[[peer]]\nurl = "a:8766"', 4, "url"),
        ('hello = 1\n[[peer]]\nurl = "a"', 1, "hello"),
        ('\npeer = "a"', 2, "peer"),
    ],
)
def test_a_bad_entry_names_line_and_key(text: str, line: int, key: str) -> None:
    with pytest.raises(UsageError, match=rf"line {line}: .*'{key}'"):
        read_peers(text)


def test_bad_toml_names_the_line() -> None:
    with pytest.raises(UsageError, match="line 2"):
        read_peers("[[peer]]\nurl = \n")


STATUS = b"""{"Self": {"HostName": "me", "TailscaleIPs": ["100.64.0.1", "fd7a:115c:a1e0::1"]}, "Peer": {
  "k1": {"HostName": "Apricot", "DNSName": "apricot.x.ts.net.", "TailscaleIPs": ["100.64.0.2"],
         "Online": true},
  "k2": {"HostName": "asleep", "TailscaleIPs": ["100.64.0.3"], "Online": false},
  "k3": {"HostName": "liar", "TailscaleIPs": ["8.8.8.8", "x"], "Online": true},
  "k4": {"HostName": "empty", "TailscaleIPs": null, "Online": true}}}"""


def test_tailscale_status() -> None:
    tailnet = read_tailscale(STATUS)
    assert tailnet.own == ["100.64.0.1", "fd7a:115c:a1e0::1"]
    assert tailnet.hosts == [Suggestion("http://100.64.0.2:8766", "", "apricot")]


@given(st.binary() | st.sampled_from([b"{}", b"[]", b'{"Self":null,"Peer":null}', b'{"Peer":[]}']))
def test_tailscale_output_never_raises(output: bytes) -> None:
    assert read_tailscale(output) == ([], [])


def test_on_tailnet() -> None:
    assert on_tailnet("100.127.255.254") and on_tailnet("fd7a:115c:a1e0:ab12::1")
    assert not on_tailnet("100.128.0.1") and not on_tailnet("localhost") and not on_tailnet("::1")


def test_what_is_this_node_itself_is_not_dialled() -> None:
    others = {MACHINE: ("alpha", ["10.0.0.1:8766", "10.0.0.2:8766"])}
    suggestions = [Suggestion("https://10.0.0.1:8766", MACHINE), Suggestion("http://10.0.0.1:8766")]
    assert address_book(others, suggestions, {}, {}, {"10.0.0.1:8766"}) == {MACHINE: ["http://10.0.0.2:8766"]}
    assert address_book(others, suggestions, {}, {}, {"10.0.0.1:8766", "10.0.0.2:8766"}) == {}


def test_mdns_record() -> None:
    found = read_mdns({b"id": MACHINE.encode()}, ["192.168.1.5", "fd00::5"], 8766)
    assert found == [
        Suggestion("http://192.168.1.5:8766", MACHINE),
        Suggestion("http://[fd00::5]:8766", MACHINE),
    ]
    assert len(read_mdns({b"id": MACHINE.encode()}, ["10.0.0.1"] * 99, 1)) == ADDRESSES_MAX


@pytest.mark.parametrize(
    ("properties", "port"),
    [
        ({}, 1),
        ({b"id": None}, 1),
        ({b"id": b"\xff"}, 1),
        ({b"id": MACHINE.encode()}, None),
        ({b"id": MACHINE.encode()}, 0),
    ],
)
def test_an_odd_mdns_record_suggests_nothing(properties: dict[bytes, bytes | None], port: int | None) -> None:
    assert read_mdns(properties, ["192.168.1.5"], port) == []
