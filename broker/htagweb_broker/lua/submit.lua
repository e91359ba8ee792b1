-- A page of a known generation sends something: append it, if that generation still lives, and publish it
-- to the owner, with the id of the entry before. The session's version travels along, so that the app sees
-- what web handlers wrote before.
-- KEYS: instance hash, inbox stream, session hash
-- ARGV: generation, message, most entries the inbox may hold, inbox TTL ms, session TTL ms,
--       most bytes that entries of this message's size may take,
--       how the owner's channel begins (no key: it is in another slot), the instance
-- Returns one of "ok", "unknown" (no such instance), "stale" (another generation), "ended", "busy"
local now = redis.call('HMGET', KEYS[1], 'generation', 'owner')
if not now[1] then
  return 'unknown'
end
if now[1] ~= ARGV[1] then
  return 'stale'
end
if not now[2] then
  return 'ended'
end
local waiting = redis.call('XLEN', KEYS[2])
if waiting >= tonumber(ARGV[3]) or (waiting + 1) * #ARGV[2] > tonumber(ARGV[6]) then
  return 'busy'
end
local version = redis.call('HGET', KEYS[3], 'version') or ''
local before = waiting > 0 and redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1][1] or ''
local entry = redis.call('XADD', KEYS[2], '*', 'm', ARGV[2], 'v', version)
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
redis.call('PUBLISH', ARGV[7] .. now[2],
  ARGV[8] .. ' ' .. before .. ' ' .. entry .. ' ' .. version .. ' ' .. ARGV[2])
return 'ok'
