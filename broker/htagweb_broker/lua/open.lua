-- A browser wants the page: append an open message, publish it to the instance's owner, with the id of the
-- entry before, and tell who that is.
-- KEYS: instance hash, inbox stream, session hash, the session's set of apps
-- ARGV: message, most entries the inbox may hold, inbox TTL ms, session TTL ms, app, most apps of a session,
--       how the owner's channel begins (no key: it is in another slot), the instance
-- Returns {"busy"} (its inbox is full), {"full"} (the session runs too many other apps), or
--         {"ok", generation or "", owner or ""}
local waiting = redis.call('XLEN', KEYS[2])
if waiting >= tonumber(ARGV[2]) then
  return {'busy'}
end
local runs = redis.call('SISMEMBER', KEYS[4], ARGV[5]) == 1
if not runs and redis.call('SCARD', KEYS[4]) >= tonumber(ARGV[6]) then
  return {'full'}
end
local version = redis.call('HGET', KEYS[3], 'version') or ''
local before = waiting > 0 and redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1][1] or ''
local entry = redis.call('XADD', KEYS[2], '*', 'm', ARGV[1], 'v', version)
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
local now = redis.call('HMGET', KEYS[1], 'generation', 'owner')
if now[2] then
  redis.call('PUBLISH', ARGV[7] .. now[2],
    ARGV[8] .. ' ' .. before .. ' ' .. entry .. ' ' .. version .. ' ' .. ARGV[1])
end
return {'ok', now[1] or '', now[2] or ''}
