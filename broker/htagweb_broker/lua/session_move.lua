-- Move a session to its new id, with changed values, and mark the old one as moved. Safe to repeat.
-- KEYS: the old session's hash, the new one's, the old one's mark
-- ARGV: the new session, new version, TTL ms, TTL of the mark ms, how many to set, field, value, …,
--       then fields to delete
-- Returns 1, or 0 when it has moved to another id
local moved = redis.call('GET', KEYS[3])
if moved and moved ~= '' then
  return moved == ARGV[1] and 1 or 0
end
-- The mark first: if the server refuses it, nothing else has happened yet.
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[4])
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('RENAME', KEYS[1], KEYS[2])
end
local first_delete = 6 + 2 * tonumber(ARGV[5])
redis.call('HSET', KEYS[2], 'version', ARGV[2])
for i = 6, first_delete - 1, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
end
for i = first_delete, #ARGV do
  redis.call('HDEL', KEYS[2], ARGV[i])
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
