-- A browser wants the page: append an open message, and tell who owns the instance.
-- KEYS: instance hash, inbox stream, session hash, the session's set of apps
-- ARGV: message, most entries the inbox may hold, inbox TTL ms, session TTL ms, app, most apps of a session
-- Returns {"busy"} (its inbox is full), {"full"} (the session runs too many other apps), or
--         {"ok", generation or "", owner or ""}
if redis.call('XLEN', KEYS[2]) >= tonumber(ARGV[2]) then
  return {'busy'}
end
local runs = redis.call('SISMEMBER', KEYS[4], ARGV[5]) == 1
if not runs and redis.call('SCARD', KEYS[4]) >= tonumber(ARGV[6]) then
  return {'full'}
end
local version = redis.call('HGET', KEYS[3], 'version')
redis.call('XADD', KEYS[2], '*', 'm', ARGV[1], 'v', version or '')
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
local now = redis.call('HMGET', KEYS[1], 'generation', 'owner')
return {'ok', now[1] or '', now[2] or ''}
