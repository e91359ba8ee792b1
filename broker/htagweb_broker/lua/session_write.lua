-- Write the changed values of a session, key by key, and give it a new version.
-- A field is the key's JSON text, so it starts with a quote and never is the field "version".
-- KEYS: session hash
-- ARGV: new version, TTL ms, most fields, how many to set, field, value, …, then fields to delete
-- Returns {previous version or ""}, or nil when the session would hold too many fields
local sets = tonumber(ARGV[4])
local first_delete = 5 + 2 * sets
local added = redis.call('HEXISTS', KEYS[1], 'version') == 0 and 1 or 0
for i = 5, first_delete - 1, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then
    added = added + 1
  end
end
for i = first_delete, #ARGV do
  added = added - redis.call('HEXISTS', KEYS[1], ARGV[i])
end
if added > 0 and redis.call('HLEN', KEYS[1]) + added > tonumber(ARGV[3]) + 1 then
  return nil
end
local previous = redis.call('HGET', KEYS[1], 'version')
for i = 5, first_delete - 1, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
for i = first_delete, #ARGV do
  redis.call('HDEL', KEYS[1], ARGV[i])
end
redis.call('HSET', KEYS[1], 'version', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {previous or ''}
