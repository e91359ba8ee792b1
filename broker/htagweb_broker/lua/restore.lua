-- Write an instance's record again after the server lost it, for the supervisor that still runs its app.
-- Whoever wrote one in between keeps it. Safe to repeat.
-- KEYS: instance hash, the session's set of apps
-- ARGV: generation, owner, number of the last action, TTL ms, app, then field, value, … that describe it
-- Returns 1 when the record is of this generation and owner now, 0 when it is another's
local now = redis.call('HMGET', KEYS[1], 'generation', 'owner')
if now[1] then
  return (now[1] == ARGV[1] and now[2] == ARGV[2]) and 1 or 0
end
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'owner', ARGV[2], 'out', ARGV[3], unpack(ARGV, 6))
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('SADD', KEYS[2], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
