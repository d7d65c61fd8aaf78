-- Read entries, and repair the set of ids where Redis evicted one of the two. What is not wanted is not free.
-- KEYS: ids, free units, entries…
-- ARGV: their ids
-- Returns one entry (or {}) for each
local found = {}
for i, id in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[i + 2]) == 1 then
    redis.call('SADD', KEYS[1], id)
    found[i] = entry(KEYS[i + 2])
  else
    redis.call('SREM', KEYS[1], id)
    redis.call('SREM', KEYS[2], id)
    found[i] = {}
  end
end
return found
