"""No secret of a known shape or behind a telling name leaves its pane."""

from __future__ import annotations

import pytest

from claire.fleet.redact import MARK, redact

A = "abcdefghijklmnopqrstuvwxyz0123456789"
SECRETS = [
    f"sk-ant-api03-{A}",
    f"sk-proj-{A}",
    f"sk_live_{A}",
    f"ghp_{A}",
    f"github_pat_{A}",
    f"glpat-{A}",
    "AKIAIOSFODNN7EXAMPLE",
    f"AIza{A}",
    "xoxb-1234567890-abcdef",
    f"npm_{A}",
    f"eyJhbGciOiJIUzI1.{A}.{A}",
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{A}\n{A}\n-----END OPENSSH PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{A} and the screen ends here",
    f"claire:{A}{A}",
]
NAMED = [
    ("PASSWORD=hunter2 rest", f"PASSWORD={MARK} rest"),
    ("db_password: 'two words' rest", f"db_password: {MARK} rest"),
    ('{"api_key": "x1"}', f'{{"api_key": {MARK}}}'),
    ("export AWS_SECRET_ACCESS_KEY=abc/def+1", f"export AWS_SECRET_ACCESS_KEY={MARK}"),
    (f"Authorization: Bearer {A}", f"Authorization: Bearer {MARK}"),
    ("postgres://ann:pw@db/x", f"postgres://{MARK}@db/x"),
    ("?token=abc&x=1", f"?token={MARK}&x=1"),
]


@pytest.mark.parametrize("secret", SECRETS)
def test_shapes(secret: str) -> None:
    assert A not in redact(f"before {secret} after")
    assert secret[-12:] not in redact(f"before {secret} after")


@pytest.mark.parametrize(("text", "clean"), NAMED)
def test_names(text: str, clean: str) -> None:
    assert redact(text) == clean


@pytest.mark.parametrize(
    "text",
    ["fix the token parser", "the password field is empty", "https://example.org/a?b=c", "sk-1", "commit 0123abcd"],
)
def test_plain_text_stays(text: str) -> None:
    assert redact(text) == text


def test_it_is_quick_on_long_lines() -> None:
    for text in ("a" * 200_000, "token" * 40_000, "x:" * 100_000, "-----BEGIN " * 20_000, "eyJ" * 60_000):
        redact(text)
