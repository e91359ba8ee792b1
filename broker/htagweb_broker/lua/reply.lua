-- Answer a request of a web worker: store the reply with the last number emitted before it, and tell
-- the worker. The key is the truth, the channel is the fast way to it.
-- KEYS: instance hash, reply key, inbox stream
-- ARGV: generation, reply, request, TTL ms, the first inbox entry to keep ("" for all),
--       the worker's channel (no key: it is in another slot), the time now
-- Returns 1, or -1 when the instance has another generation or no owner
local now = redis.call('HMGET', KEYS[1], 'generation', 'out', 'owner')
if now[1] ~= ARGV[1] or not now[3] then
  return -1
end
if ARGV[5] ~= '' then
  redis.call('XTRIM', KEYS[3], 'MINID', ARGV[5])
end
redis.call('HSET', KEYS[1], 'active_ms', ARGV[7])
redis.call('SET', KEYS[2], now[2] .. ' ' .. ARGV[2], 'PX', ARGV[4])
redis.call('PUBLISH', ARGV[6], ARGV[3])
return 1
