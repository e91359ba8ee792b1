-- Write an instance's record again after the server lost it, for the supervisor that still runs its app.
-- So it is where the record is gone, or is an earlier one: of a lower count, that nobody else owns. Whoever
-- wrote another one in between keeps it. Safe to repeat.
-- KEYS: instance hash, outbox stream, the session's set of apps
-- ARGV: generation, owner, number of the last action, TTL ms, app, then field, value, … that describe it
-- Returns 1 when the record is of this generation and owner now, 0 when it is another's
local now = redis.call('HMGET', KEYS[1], 'generation', 'owner')
if now[1] then
  if now[1] == ARGV[1] then
    return now[2] == ARGV[2] and 1 or 0
  end
  local count = function(generation)
    return tonumber(string.match(generation, '^%d+'))
  end
  if (now[2] and now[2] ~= ARGV[2]) or count(now[1]) >= count(ARGV[1]) then
    return 0
  end
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'owner', ARGV[2], 'out', ARGV[3], unpack(ARGV, 6))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SADD', KEYS[3], ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
return 1
