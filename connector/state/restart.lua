-- Raise the generation; the count stays.
-- KEYS: entry, lease, nonce
-- ARGV: ms to keep the nonce
-- Returns {changed, lease, entry or {}}; to a nonce that was answered the same again, with the entry as it is
local lease = redis.call('GET', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {0, lease, {}}
end
local before = answered(KEYS[3])
if before then return {tonumber(before), lease, entry(KEYS[1])} end
carried_out(KEYS[3], 1, ARGV[1])
redis.call('HINCRBY', KEYS[1], 'generation', 1)
return {1, lease, entry(KEYS[1])}
