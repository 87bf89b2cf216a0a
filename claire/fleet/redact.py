"""Secrets out of text that leaves its pane: keys by their known shapes, and what stands behind telling names. Pure."""

from __future__ import annotations

import re

MARK = "[redacted]"
_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:sk|rk|pk)-[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic, Stripe
    r"|\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bAIza[A-Za-z0-9_-]{30,}"
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[A-Za-z0-9_-]{30,}|\bhf_[A-Za-z0-9]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|\bclaire:[A-Za-z0-9_=-]{40,}",
    re.DOTALL,
)
_NAMED = re.compile(
    r"(?i)((?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|credential)[\w.-]{0,40}[\"']?"
    r"\s{0,4}[:=]\s{0,4})(?:\"[^\"\n]{0,500}\"|'[^'\n]{0,500}'|[^\s,;&\"']{1,500})"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{12,}")
_IN_URL = re.compile(r"(://)[^\s/@:]{1,200}:[^\s/@]{1,200}@")


def redact(text: str) -> str:
    """The same text, with a mark where a secret stood."""
    text = _SHAPES.sub(MARK, text)
    text = _IN_URL.sub(rf"\1{MARK}@", text)
    text = _BEARER.sub(rf"\1 {MARK}", text)
    return _NAMED.sub(rf"\1{MARK}", text)
