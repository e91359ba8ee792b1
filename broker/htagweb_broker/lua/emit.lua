-- Emit an action: compare the owner, number it, append it, publish it. Safe to repeat: the owner
-- chooses the number, and one that is there already is not emitted again.
-- KEYS: instance hash, outbox stream, inbox stream, channel
-- ARGV: generation, number, action, oldest number to keep, the first inbox entry to keep ("" for all),
--       TTL ms of a new outbox (its owner renews it),
--       the request that waits, and its web worker's channel ("" for none; no key: it is in another slot),
--       the time of the activity that it answers ("" for none)
-- Returns -1 (another generation owns it), or how many subscribers got it
local now = redis.call('HMGET', KEYS[1], 'generation', 'out', 'owner')
if now[1] ~= ARGV[1] or not now[3] then
  return -1
end
if tonumber(now[2]) >= tonumber(ARGV[2]) then
  return 0
end
-- The append first: if the server refuses it, nothing else has happened yet and it can be repeated.
redis.call('XADD', KEYS[2], 'MINID', ARGV[4] .. '-0', ARGV[2] .. '-0', 'g', ARGV[1], 'm', ARGV[3])
if redis.call('XLEN', KEYS[2]) == 1 then
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
if ARGV[9] ~= '' then
  redis.call('HSET', KEYS[1], 'out', ARGV[2], 'active_ms', ARGV[9])
else
  redis.call('HSET', KEYS[1], 'out', ARGV[2])
end
if ARGV[5] ~= '' then
  redis.call('XTRIM', KEYS[3], 'MINID', ARGV[5])
end
if ARGV[8] ~= '' then
  redis.call('PUBLISH', ARGV[8], ARGV[7])
end
return redis.call('PUBLISH', KEYS[4], ARGV[2] .. ' ' .. ARGV[1] .. ' ' .. ARGV[3])
