-- The whole data model on one page. Three kinds of tables:
--   log          what happened, everywhere; never rewritten
--   projections  what follows from the log; dropped and rebuilt at will
--   local        what concerns this machine alone; never leaves it

-- section: log

CREATE TABLE events (
  rowid INTEGER PRIMARY KEY AUTOINCREMENT,
  uuid TEXT NOT NULL UNIQUE,          -- event id, UUID version 7
  hlc TEXT NOT NULL,                  -- '{wall_ms}.{counter:06d}.{machine_id}', sorts as text
  machine_id TEXT NOT NULL,
  event_type TEXT NOT NULL,
  payload TEXT NOT NULL,              -- JSON, the exact text that was signed
  created_at TEXT NOT NULL,           -- wall clock, for people only
  sig TEXT NOT NULL                   -- Ed25519 over event.signed_bytes, base64url
);
CREATE INDEX events_hlc ON events(hlc);
CREATE INDEX events_machine ON events(machine_id, hlc);

CREATE TABLE log_index (              -- one row a machine; always equals what `events` holds
  machine_id TEXT PRIMARY KEY,
  newest TEXT NOT NULL,               -- stamp
  count INTEGER NOT NULL,
  digest TEXT NOT NULL                -- XOR of event_hash over the machine's events, 32 hex digits
) WITHOUT ROWID;

CREATE TABLE events_aside (           -- taken out of the set by a revocation that arrived late; shown, never folded
  uuid TEXT PRIMARY KEY, hlc TEXT NOT NULL, machine_id TEXT NOT NULL, event_type TEXT NOT NULL,
  payload TEXT NOT NULL, created_at TEXT NOT NULL, sig TEXT NOT NULL
) WITHOUT ROWID;

-- section: projections

CREATE TABLE dead (                   -- registers that an event still to come may not set: its value was replaced already
  event TEXT NOT NULL, noun TEXT NOT NULL, entity_id TEXT NOT NULL, field TEXT NOT NULL,
  PRIMARY KEY (event, noun, entity_id, field)
) WITHOUT ROWID;

CREATE TABLE conflicts (              -- registers whose heads disagree
  noun TEXT NOT NULL,                 -- 'projects', 'tasks', 'groups'
  entity_id TEXT NOT NULL,
  field TEXT NOT NULL,
  heads TEXT NOT NULL,                -- JSON [[hlc, uuid, value], ...]
  PRIMARY KEY (noun, entity_id, field)
) WITHOUT ROWID;

CREATE TABLE unread_events (          -- stored and relayed, but of a type, field or version this Claire cannot read
  uuid TEXT PRIMARY KEY, event_type TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE projects (
  id TEXT PRIMARY KEY,
  name TEXT, goal TEXT, owner TEXT,
  status TEXT,                        -- active, paused, done
  deleted INTEGER,
  merged_into TEXT,
  root_id TEXT,                       -- the project it ended up in after merges; itself if never merged
  name_claim TEXT,                    -- hlc and uuid of the claim of its current name; the smallest owns the bare name
  created_hlc TEXT, updated_hlc TEXT, -- created_hlc is NULL until project_created has arrived
  registers TEXT                      -- JSON {event uuid: [hlc, {field: value}]}: what nothing has replaced yet
);
CREATE INDEX projects_name ON projects(name);

CREATE TABLE tasks (
  id TEXT PRIMARY KEY,
  project_id TEXT,
  title TEXT, description TEXT,
  status TEXT,                        -- todo, in_progress, blocked, done
  priority INTEGER,                   -- 0 (most urgent) to 4
  deleted INTEGER,
  created_hlc TEXT, updated_hlc TEXT,
  registers TEXT
);
CREATE INDEX tasks_project ON tasks(project_id, status) WHERE deleted IS NOT 1 AND created_hlc IS NOT NULL;

CREATE TABLE task_links (             -- one register an element: task is blocked by another
  id TEXT PRIMARY KEY,                -- '{task_id}/{blocked_by}'
  task_id TEXT, blocked_by TEXT,
  linked INTEGER,
  created_hlc TEXT, updated_hlc TEXT,
  registers TEXT
);
CREATE INDEX task_links_task ON task_links(task_id);
CREATE INDEX task_links_blocker ON task_links(blocked_by);

CREATE TABLE assignments (
  id TEXT PRIMARY KEY,
  task_id TEXT,
  session_uuid TEXT,                  -- as assigned; bindings follow `lineages`
  created_hlc TEXT,
  ended_hlc TEXT, reason TEXT,
  lease_until_ms INTEGER,             -- claimed: Unix time until which nobody else takes the task over; else NULL
  active INTEGER                      -- not ended, and the newest of its session's lineage
);
CREATE INDEX assignments_task ON assignments(task_id);
CREATE INDEX assignments_session ON assignments(session_uuid);

CREATE TABLE sessions (               -- the newest observation of each session
  id TEXT PRIMARY KEY,                -- Claude's own session uuid
  machine_id TEXT, host TEXT,         -- who observed it
  cwd TEXT, tmux_name TEXT, pane TEXT, name TEXT, version TEXT,
  state TEXT, source TEXT, confidence TEXT, waiting_for TEXT,
  since_ms INTEGER,                   -- when the state began
  last_seen_ms INTEGER, last_seen_mtime REAL,
  last_triage TEXT,
  gone INTEGER,
  observed_hlc TEXT
);

CREATE TABLE session_links (          -- evidence that one session continues another
  id TEXT PRIMARY KEY,                -- event uuid
  old TEXT NOT NULL, new TEXT NOT NULL, reason TEXT NOT NULL, hlc TEXT NOT NULL
);
CREATE INDEX session_links_old ON session_links(old);
CREATE INDEX session_links_new ON session_links(new);

CREATE TABLE lineages (               -- sessions joined by session_links; others are their own lineage
  session_uuid TEXT PRIMARY KEY,
  root TEXT NOT NULL,                 -- smallest uuid of the lineage
  head TEXT NOT NULL                  -- the session that continues it now
) WITHOUT ROWID;
CREATE INDEX lineages_root ON lineages(root);

CREATE TABLE groups (
  id TEXT PRIMARY KEY,                -- its name
  pattern TEXT,                       -- 'cwd:text', 'host:text', 'session:text', or bare text that any of them contains
  removed INTEGER,
  created_hlc TEXT, updated_hlc TEXT,
  registers TEXT
);

CREATE TABLE updates (
  id TEXT PRIMARY KEY,
  task_id TEXT, assignment_id TEXT, session_uuid TEXT,
  source TEXT NOT NULL,               -- note, triage, message, pane-tail, question
  payload TEXT NOT NULL,
  machine_id TEXT NOT NULL, hlc TEXT NOT NULL
);
CREATE INDEX updates_task ON updates(task_id, hlc);
CREATE INDEX updates_hlc ON updates(hlc);

CREATE TABLE decisions (
  id TEXT PRIMARY KEY,
  project_id TEXT, task_id TEXT,
  text TEXT NOT NULL,
  machine_id TEXT NOT NULL, hlc TEXT NOT NULL
);
CREATE INDEX decisions_project ON decisions(project_id, hlc);

CREATE TABLE broadcasts (
  id TEXT PRIMARY KEY,
  target TEXT,                        -- what the user named: 'project:…', 'group:…', 'session:…'
  text TEXT,
  targets TEXT,                       -- JSON [{session_uuid, machine_id, assignment_id}, ...]
  raw INTEGER,                        -- the user allows a leading '/', '!', '#', '@' or '&'
  expires_ms INTEGER,                 -- Unix time after which nobody types it
  machine_id TEXT, hlc TEXT           -- author
);
CREATE INDEX broadcasts_hlc ON broadcasts(hlc);

CREATE TABLE deliveries (             -- the newest outcome of each target, by who says so
  id TEXT PRIMARY KEY,                -- '{broadcast_id}/{session_uuid}/{machine_id}'
  broadcast_id TEXT, session_uuid TEXT,
  outcome TEXT,                       -- delivered, refused, expired, unverified
  why TEXT,
  machine_id TEXT, hlc TEXT
);
CREATE INDEX deliveries_broadcast ON deliveries(broadcast_id);

CREATE TABLE notices (                -- which node said first that it notifies a person of something
  id TEXT PRIMARY KEY,                -- '{subject}/{state}/{since_ms}'
  subject TEXT, state TEXT, since_ms INTEGER,
  machine_id TEXT, hlc TEXT
);
CREATE INDEX notices_subject ON notices(subject);

CREATE TABLE admissions (
  id TEXT PRIMARY KEY,                -- event uuid
  issuer TEXT NOT NULL, machine_id TEXT NOT NULL, public_key TEXT NOT NULL, name TEXT NOT NULL, hlc TEXT NOT NULL
);
CREATE TABLE revocations (
  id TEXT PRIMARY KEY,
  issuer TEXT NOT NULL, machine_id TEXT NOT NULL, through_hlc TEXT NOT NULL, hlc TEXT NOT NULL
);
CREATE TABLE announcements (          -- what each node says of itself, newest
  id TEXT PRIMARY KEY,                -- machine_id
  name TEXT, addresses TEXT, version TEXT, joined_hlc TEXT, hlc TEXT
);
CREATE TABLE renamings (
  id TEXT PRIMARY KEY,                -- machine_id
  name TEXT, hlc TEXT
);
CREATE TABLE members (                -- follows from pins, admissions and revocations: whose events belong to the set
  id TEXT PRIMARY KEY,                -- machine_id
  name TEXT NOT NULL,
  public_key TEXT NOT NULL,           -- raw Ed25519 key, hex
  addresses TEXT NOT NULL,            -- JSON list of 'host:port'
  version TEXT NOT NULL,
  admitted_by TEXT,                   -- machine_id, or NULL for a pin of our own
  through_hlc TEXT                    -- revoked: events beyond this stamp do not belong
);

-- section: local

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE pins (                   -- keys this node trusts of its own: itself, and nodes it paired with
  machine_id TEXT PRIMARY KEY, public_key TEXT NOT NULL, name TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE invites (                -- one-time secrets, stored hashed
  id TEXT PRIMARY KEY, secret_hash TEXT NOT NULL, expires_ms INTEGER NOT NULL, bad_tries INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE peers (                  -- what we remember of talking to a peer; it saves bytes and informs people, no more
  machine_id TEXT PRIMARY KEY,
  url TEXT, ignored INTEGER NOT NULL DEFAULT 0,
  last_contact_ms INTEGER, last_pull_ms INTEGER, last_push_ms INTEGER,
  etag TEXT, behind INTEGER, skew_ms INTEGER,
  failures INTEGER NOT NULL DEFAULT 0, breaker TEXT, last_error TEXT
) WITHOUT ROWID;

CREATE TABLE allow_send (             -- whose broadcasts may be typed on this host; default nobody
  machine_id TEXT PRIMARY KEY, allowed_at_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE own_elsewhere (          -- stamps of own events that were not written here: by a clone, by a thief of the key,
  hlc TEXT PRIMARY KEY                -- or before a backup was restored
) WITHOUT ROWID;

CREATE TABLE delivery_claims (        -- committed before anything is typed
  broadcast_id TEXT NOT NULL, session_uuid TEXT NOT NULL,
  step TEXT NOT NULL, at_ms INTEGER NOT NULL,
  PRIMARY KEY (broadcast_id, session_uuid)
) WITHOUT ROWID;

CREATE TABLE claude_processes (       -- which session each Claude process of this host held when last looked at
  pid INTEGER NOT NULL, start TEXT NOT NULL,   -- a pid means nothing without the start of its process
  session_uuid TEXT NOT NULL, home TEXT NOT NULL,
  PRIMARY KEY (pid, start)
) WITHOUT ROWID;

CREATE TABLE agent_calls (            -- answers to writes that an agent may repeat under the same key
  key TEXT PRIMARY KEY, answer TEXT NOT NULL, at_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE logins (                 -- browser logins: one-time codes and cookies, both stored hashed
  hash TEXT PRIMARY KEY, kind TEXT NOT NULL, expires_ms INTEGER NOT NULL, tries INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE alarms (                 -- things a person should look at: forged events, one id on two hosts, ...
  kind TEXT NOT NULL, machine_id TEXT NOT NULL, detail TEXT NOT NULL,
  first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (kind, machine_id)
) WITHOUT ROWID;
