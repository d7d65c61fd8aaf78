-- Raise the generation; the count stays.
-- KEYS: entry, lease
-- Returns {changed, lease, entry or {}}
local lease = redis.call('GET', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {0, lease, {}}
end
redis.call('HINCRBY', KEYS[1], 'generation', 1)
return {1, lease, entry(KEYS[1])}
