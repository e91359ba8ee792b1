-- Write the changed values of a session, key by key, and give it a new version.
-- A field is the key's JSON text, so it starts with a quote and never is the field "version".
-- KEYS: session hash, the mark that it has moved to a new id, and, where an app writes, its instance hash
-- ARGV: generation of the app and number of its write ("" for none), new version, TTL ms, most fields, most
--       bytes, how many to set, field, value, …, then fields to delete
-- Returns {previous version or ""}, "moved", "fenced" (another generation owns the instance), "repeated" (this
-- write, or one after it, is there already), or nil when the session would hold too much; in the last four
-- cases nothing is written
local moved = redis.call('GET', KEYS[2])
if moved and moved ~= '' then
  return 'moved'
end
if KEYS[3] then
  local owned = redis.call('HMGET', KEYS[3], 'generation', 'owner', 'saves')
  if owned[1] ~= ARGV[1] or not owned[2] then
    return 'fenced'
  end
  -- A connection that was given up may deliver a write long after later ones have come on the next.
  if tonumber(owned[3] or 0) >= tonumber(ARGV[2]) then
    return 'repeated'
  end
end
local sets = tonumber(ARGV[7])
local first_delete = 8 + 2 * sets
local touched, fields, bytes = {}, 0, 0
for i = 8, first_delete - 1, 2 do
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
if sets > 0 and (fields > tonumber(ARGV[5]) or bytes > tonumber(ARGV[6])) then
  return nil
end
local previous = redis.call('HGET', KEYS[1], 'version')
redis.call('HSET', KEYS[1], 'version', ARGV[3])
for i = 8, first_delete - 1, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
for i = first_delete, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if KEYS[3] then
  redis.call('HSET', KEYS[3], 'saves', ARGV[2])
end
return {previous or ''}
