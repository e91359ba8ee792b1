-- Count one more new session of an address, in a window that begins with its first.
-- KEYS: the address's counter
-- ARGV: the window, ms
-- Returns how many there are in this window
local count = redis.call('INCR', KEYS[1])
if count == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return count
