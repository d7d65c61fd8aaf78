-- One subscriber less; the last one takes the entry along.
-- KEYS: entry, ids, tombstone, lease, nonce, closes that are owed, free units, mark
-- ARGV: id, seconds to keep the tombstone, 1 = all subscribers leave, ms to keep nonce and mark, seconds to keep what is owed,
--       field of the mark, process, 0 = new or how it comes again, equal ones behind it
-- Returns {changed, lease, entry or {}}; to a nonce that was answered the same again, with the entry as it is
local lease = redis.call('GET', KEYS[4])
local count = redis.call('HGET', KEYS[1], 'count')
local before = answered_anywhere(KEYS[5], KEYS[8], 6, ARGV[4])
if before then return {tonumber(before), lease, count and entry(KEYS[1]) or {}} end
if not count then
  leave_mark(KEYS[5], KEYS[8], 6, 0, ARGV[4])
  if tonumber(redis.call('GET', KEYS[3]) or '2') > 1 then
    -- Redis may have forgotten the stream: its owner still remembers this subscriber.
    redis.call('INCR', KEYS[6])
    redis.call('EXPIRE', KEYS[6], ARGV[5])
  end
  return {0, lease, {}}
end
if tonumber(count) > 1 and ARGV[3] ~= '1' then
  redis.call('HINCRBY', KEYS[1], 'count', -1)
  leave_mark(KEYS[5], KEYS[8], 6, 0, ARGV[4])
  return {0, lease, entry(KEYS[1])}
end
local since = ARGV[3] == '1' and '0' or redis.call('HGET', KEYS[1], 'since') or '0'
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('SREM', KEYS[7], ARGV[1])
redis.call('SET', KEYS[3], since, 'EX', ARGV[2])
leave_mark(KEYS[5], KEYS[8], 6, 1, ARGV[4])
return {1, lease, {}}
