-- One subscriber less; the last one takes the entry along.
-- KEYS: entry, ids, tombstone, lease
-- ARGV: id, seconds to keep the tombstone, 1 = all subscribers leave
-- Returns {changed, lease, entry or {}}
local lease = redis.call('GET', KEYS[4])
local count = redis.call('HGET', KEYS[1], 'count')
if not count then
  return {0, lease, {}}
end
if tonumber(count) > 1 and ARGV[3] ~= '1' then
  redis.call('HINCRBY', KEYS[1], 'count', -1)
  return {0, lease, entry(KEYS[1])}
end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('SET', KEYS[3], '1', 'EX', ARGV[2])
return {1, lease, {}}
