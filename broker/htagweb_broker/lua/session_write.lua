-- Write the changed values of a session, key by key, and give it a new version.
-- A field is the key's JSON text, so it starts with a quote and never is the field "version".
-- KEYS: session hash, the mark that it has moved to a new id
-- ARGV: new version, TTL ms, most fields, most bytes, how many to set, field, value, …, then fields to delete
-- Returns {previous version or ""}, "moved", or nil when the session would hold too much; in the last two
-- cases nothing is written
local moved = redis.call('GET', KEYS[2])
if moved and moved ~= '' then
  return 'moved'
end
local sets = tonumber(ARGV[5])
local first_delete = 6 + 2 * sets
local touched, fields, bytes = {}, 0, 0
for i = 6, first_delete - 1, 2 do
  touched[ARGV[i]] = true
  fields = fields + 1
  bytes = bytes + #ARGV[i] + #ARGV[i + 1]
end
for i = first_delete, #ARGV do
  touched[ARGV[i]] = true
end
local now = redis.call('HGETALL', KEYS[1])
for i = 1, #now, 2 do
  if not touched[now[i]] and now[i] ~= 'version' then
    fields = fields + 1
    bytes = bytes + #now[i] + #now[i + 1]
  end
end
if sets > 0 and (fields > tonumber(ARGV[3]) or bytes > tonumber(ARGV[4])) then
  return nil
end
local previous = redis.call('HGET', KEYS[1], 'version')
redis.call('HSET', KEYS[1], 'version', ARGV[1])
for i = 6, first_delete - 1, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
for i = first_delete, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {previous or ''}
