-- Let a page of a session in, if there is a place, or keep the place that it has.
-- KEYS: the session's pages
-- ARGV: page, now (ms since 1970), life of a place ms, most pages
-- Returns 1, or 0 when all places are taken by others
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then
  return 0
end
redis.call('ZADD', KEYS[1], ARGV[2] + ARGV[3], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
