-- Become the owner of an instance, or take it over from a dead one: compare-and-set on its generation.
-- A new generation starts with an empty outbox, at number 0.
-- KEYS: instance hash, outbox stream, inbox stream, the session's set of apps
-- ARGV: expected generation ("" for none), expected owner ("" for none), new generation, new owner,
--       TTL ms, app, then field, value, … that describe the instance
-- Returns {0, generation, owner} when it is someone else's by now, or {1, entries waiting in the inbox}
local now = redis.call('HMGET', KEYS[1], 'generation', 'owner')
if (now[1] or '') ~= ARGV[1] or (now[2] or '') ~= ARGV[2] then
  return {0, now[1] or '', now[2] or ''}
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'generation', ARGV[3], 'owner', ARGV[4], 'out', 0, unpack(ARGV, 7))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('SADD', KEYS[4], ARGV[6])
redis.call('PEXPIRE', KEYS[4], ARGV[5])
return {1, redis.call('XRANGE', KEYS[3], '-', '+')}
