-- One heartbeat of a supervisor: say that it lives, and what it can take; hear whether it is to drain.
-- KEYS: the heartbeat's hash, the set of known supervisors, the set of instances it owns, the order to drain
-- ARGV: supervisor, heartbeat TTL ms, TTL of the two sets ms, then field, value, …
-- Returns {1 when an operator ordered it to drain, else 0; 1 when its last heartbeat still counted, else 0}
local lived = redis.call('EXISTS', KEYS[1])
-- First a write that takes no memory: a script that has written is not refused by a server that is full.
-- So it calls no supervisor dead.
redis.call('PEXPIRE', KEYS[3], ARGV[3])
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {redis.call('EXISTS', KEYS[4]), lived}
