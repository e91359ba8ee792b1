-- Take the number of a sealed request: compare-and-set, each number of a channel is taken once.
-- KEYS: the channel's hash
-- ARGV: channel, number, TTL ms
-- Returns 1, 0 when the number is not above all that were taken, or -1 when the channel is unknown: it
--         expired, gave its place to another, or the server was started again since
local now = redis.call('HMGET', KEYS[1], 'channel', 'number', 'run')
if now[1] ~= ARGV[1] or now[3] ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') then
  return -1
end
if tonumber(ARGV[2]) <= tonumber(now[2]) then
  return 0
end
redis.call('HSET', KEYS[1], 'number', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
