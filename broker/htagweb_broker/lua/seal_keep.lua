-- Keep the keys of a new sealed channel, in place of what was there: no number was used with them yet.
-- The server's run is noted: started again it may have older numbers, and one must not be taken twice.
-- KEYS: the channel's hash
-- ARGV: channel, its keys, TTL ms
-- Returns 1, or 0 when the channel is there already: its numbers must not begin anew
if redis.call('HGET', KEYS[1], 'channel') == ARGV[1] then
  return 0
end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'channel', ARGV[1], 'keys', ARGV[2], 'number', 0, 'run', run)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
