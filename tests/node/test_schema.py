"""The version moves with what it stands for: a database of yesterday is replayed, or keeps unread what we can read."""

import hashlib
import json
import re
from typing import Any

import msgspec

from claire.node.event import all_types
from claire.node.schema import SCHEMA, SCHEMA_VERSION

FINGERPRINT = (6, "a613bb52a2e32c63")


def test_the_version_is_raised_with_every_table_and_event_type() -> None:
    tables = re.sub(r"--.*", "", SCHEMA).split()
    types = {name: msgspec.json.schema(body) for name, body in sorted(all_types().items())}
    said = json.dumps([tables, json.loads(json.dumps(types), object_hook=_without_prose)], sort_keys=True)
    now = (SCHEMA_VERSION, hashlib.sha256(said.encode()).hexdigest()[:16])
    assert now == FINGERPRINT, "raise SCHEMA_VERSION, then set FINGERPRINT to what stands on the left"


def _without_prose(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "description" or not isinstance(value, str)}
