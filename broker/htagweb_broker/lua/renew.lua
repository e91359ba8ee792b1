-- Keep an owned instance from expiring, and note facts about it.
-- KEYS: instance hash, outbox stream, inbox stream
-- ARGV: generation, TTL ms, then field, value, … to set (may be none)
-- Returns 1, or 0 when the instance belongs to another generation
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then
  return 0
end
if #ARGV > 2 then
  redis.call('HSET', KEYS[1], unpack(ARGV, 3))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
