-- Take an entry out of the inbox that leads to no action, if it still is the owner's to take.
-- KEYS: instance hash, inbox stream
-- ARGV: generation, entry
-- Returns 1, or -1 when the instance has another generation or no owner
local now = redis.call('HMGET', KEYS[1], 'generation', 'owner')
if now[1] ~= ARGV[1] or not now[2] then
  return -1
end
redis.call('XDEL', KEYS[2], ARGV[2])
return 1
