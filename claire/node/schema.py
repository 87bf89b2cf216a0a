"""The schema file, its version, and which of its tables can be rebuilt from the log."""

import os
import re

# Raise it with every change of a table, an event type or a fold: an older database is then replayed when opened.
SCHEMA_VERSION = 6

_path = os.path.join(os.path.dirname(__file__), "schema.sql")
with open(_path, encoding="utf-8") as _file:
    SCHEMA = _file.read()

PROJECTIONS_SCHEMA = SCHEMA.split("-- section: projections")[1].split("-- section: local")[0]
PROJECTIONS = tuple(re.findall(r"CREATE TABLE (\w+)", PROJECTIONS_SCHEMA))
LOCAL_SCHEMA = SCHEMA.split("-- section: local")[1].replace("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ")
