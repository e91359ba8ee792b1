-- Give an instance up: emit its end as the last action and clear the owner. What the inbox still
-- holds stays there for the next generation. Safe to repeat.
-- KEYS: instance hash, outbox stream, inbox stream, channel, the session's set of apps
-- ARGV: generation, number, action, reason, the first inbox entry to keep ("" for all), TTL ms, app
-- Returns -1 (another generation owns it), or how many entries wait in the inbox
local now = redis.call('HMGET', KEYS[1], 'generation', 'owner')
if now[1] ~= ARGV[1] then
  return -1
end
if now[2] then
  -- The append first: if the server refuses it, nothing else has happened yet and it can be repeated.
  redis.call('XADD', KEYS[2], ARGV[2] .. '-0', 'g', ARGV[1], 'm', ARGV[3])
  redis.call('HDEL', KEYS[1], 'owner')
  redis.call('SREM', KEYS[5], ARGV[7])
  redis.call('HSET', KEYS[1], 'out', ARGV[2], 'reason', ARGV[4])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
  -- By the owner alone: what was taken after a take-over is for the next one.
  if ARGV[5] ~= '' then
    redis.call('XTRIM', KEYS[3], 'MINID', ARGV[5])
  end
  redis.call('PUBLISH', KEYS[4], ARGV[2] .. ' ' .. ARGV[1] .. ' ' .. ARGV[3])
end
return redis.call('XLEN', KEYS[3])
