-- End what a dead supervisor owned: emit the end after its last number and clear the owner.
-- KEYS: instance hash, outbox stream, channel, the session's set of apps
-- ARGV: the dead owner, action, reason, TTL ms, app
-- Returns 1, or 0 when the instance is not the dead owner's (any more)
local now = redis.call('HMGET', KEYS[1], 'generation', 'out', 'owner')
if now[3] ~= ARGV[1] then
  return 0
end
local number = tonumber(now[2]) + 1
-- The append first: if the server refuses it, nothing else has happened yet and it can be repeated.
redis.call('XADD', KEYS[2], number .. '-0', 'g', now[1], 'm', ARGV[2])
redis.call('HDEL', KEYS[1], 'owner')
redis.call('SREM', KEYS[4], ARGV[5])
redis.call('HSET', KEYS[1], 'out', number, 'reason', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('PUBLISH', KEYS[3], number .. ' ' .. now[1] .. ' ' .. ARGV[2])
return 1
