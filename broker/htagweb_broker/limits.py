"""The sizes and times of what the broker holds. Every key expires, every stream is bounded."""

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

SESSION_TTL_S = 14 * 24 * 3600
"""Default life of a session after its last use."""
SESSION_MAX_APPS = 32
"""Default of how many apps one session may run."""
SESSION_MAX_FIELDS = 1000
SESSION_MAX_WRITE_BYTES = 1024 * 1024
SESSION_MAX_BYTES = 4 * 1024 * 1024
"""All of a session together: every request reads it."""
CLOSED_TTL_MS = 10 * SECOND_MS
"""So long at most requests wait for a session's new id; then it goes on under the old one."""
MOVED_TTL_MS = MINUTE_MS
"""So long the old id of a session is known to be one."""
ARRIVALS_TTL_MS = SECOND_MS
PAGE_TTL_MS = 90 * SECOND_MS
"""Life of a connected page's place; whoever holds it enters again before."""

INSTANCE_TTL_MS = DAY_MS
INSTANCE_RENEW_S = 6 * 3600.0
"""How often a supervisor renews what it owns."""
INBOX_TTL_MS = HOUR_MS
INBOX_MAX_ENTRIES = 256
INBOX_MAX_BYTES = 16 * 1024 * 1024
"""So many messages of the size of a new one may wait: large ones are refused earlier."""
OUTBOX_MAX_ENTRIES = 256
OUTBOX_KEEP_BYTES = 4 * 1024 * 1024
REPLY_TTL_MS = MINUTE_MS
SPAWN_MAX_ENTRIES = 10_000
SEAL_TTL_MS = HOUR_MS
SEALS_PER_SESSION = 1024
"""Places for a session's sealed channels; a new one takes a place at random."""

DEAD_AFTER_S = 4.0
"""Default of how long a heartbeat counts: a supervisor without one is dead."""
BEATS_PER_LIFE = 5
"""So many beats fit into the life of one."""
BEAT_INTERVAL_S = 1.0
"""The longest time between two beats, however long one counts."""
REGISTRY_TTL_MS = DAY_MS
DRAIN_TTL_MS = MINUTE_MS
"""A living supervisor beats many times meanwhile; a later one of that name is another incarnation."""

assert BEATS_PER_LIFE >= 3, "one or two late beats are no death"
assert INSTANCE_RENEW_S * SECOND_MS * 2 <= INSTANCE_TTL_MS, "one failed renewal must not lose an instance"
