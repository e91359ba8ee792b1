-- Keep an owned instance from expiring, and note facts about it.
-- KEYS: instance hash, outbox stream, the session's set of apps
-- ARGV: generation, TTL ms, then field, value, … to set (may be none)
-- Returns 1, or 0 when the instance has another generation or no owner
local now = redis.call('HMGET', KEYS[1], 'generation', 'owner')
if now[1] ~= ARGV[1] or not now[2] then
  return 0
end
if #ARGV > 2 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 3))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[3], ARGV[2])
return 1
