-- Read entries, and repair the set of ids where Redis evicted one of the two.
-- KEYS: ids, entries…
-- ARGV: their ids
-- Returns one entry (or {}) for each
local found = {}
for i, id in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[i + 1]) == 1 then
    redis.call('SADD', KEYS[1], id)
    found[i] = entry(KEYS[i + 1])
  else
    redis.call('SREM', KEYS[1], id)
    found[i] = {}
  end
end
return found
