-- Write an entry that Redis forgot. An entry that was closed on purpose (tombstone) stays closed.
-- KEYS: entry, ids, tombstone, epoch
-- ARGV: id, exchange, user id, digest, sealed or '', known epoch, four options, count, generation, epoch of the entry
-- Returns nothing
newest_epoch(KEYS[4], ARGV[6])
if redis.call('EXISTS', KEYS[3]) == 1 then
  return
end
redis.call('SADD', KEYS[2], ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- An open came first. Its generation started at 0 again: the next restart would not exceed the running session's.
  if tonumber(redis.call('HGET', KEYS[1], 'generation')) < tonumber(ARGV[12]) then
    redis.call('HSET', KEYS[1], 'generation', ARGV[12])
  end
  return
end
redis.call('HSET', KEYS[1], 'exchange', ARGV[2], 'user_id', ARGV[3], 'digest', ARGV[4],
           'count', ARGV[11], 'generation', ARGV[12], 'epoch', ARGV[13])
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'sealed', ARGV[5]) end
set_options(KEYS[1], 7)
