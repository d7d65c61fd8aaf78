-- Pass a lease on.
-- KEYS: fence counter, lease, last fence
-- ARGV: its value now, the new owner, ttl in ms, ms to keep the last fence
-- Returns the new fence, or nothing if the lease was not ours
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return false
end
local fence = new_fence(KEYS[1])
give(KEYS[2], KEYS[3], fence, ARGV[2], ARGV[3], ARGV[4])
return fence
