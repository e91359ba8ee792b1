-- A page of a known generation sends something: append it, if that generation still lives.
-- The session's version travels along, so that the app sees what web handlers wrote before.
-- KEYS: instance hash, inbox stream, session hash
-- ARGV: generation, message, most entries the inbox may hold, inbox TTL ms, session TTL ms,
--       most bytes that entries of this message's size may take
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
local version = redis.call('HGET', KEYS[3], 'version')
redis.call('XADD', KEYS[2], '*', 'm', ARGV[2], 'v', version or '')
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
return 'ok'
