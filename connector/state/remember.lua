-- Write an entry that Redis forgot. An entry that was closed on purpose (tombstone) stays closed. What was opened and closed
-- since Redis forgot it counts beside what is remembered.
-- KEYS: entry, ids, tombstone, epoch, closes that are owed, lease, free units
-- ARGV: id, exchange, user id, digest, sealed or '', known epoch, four options, count, generation, epoch of the entry, its birth,
--       seconds to keep a tombstone
-- Returns 1 if the stream is wanted, 0 if it was closed
newest_epoch(KEYS[4], ARGV[6])
local tombstone = redis.call('GET', KEYS[3])
if tombstone and not before_our_time(ARGV[14], tombstone) then return 0 end
local free = redis.call('EXISTS', KEYS[6]) == 0
local stored = redis.call('HMGET', KEYS[1], 'count', 'generation', 'epoch', 'since')
local left = math.max(0, tonumber(ARGV[11]) - tonumber(redis.call('GET', KEYS[5]) or '0'))
if stored[1] then
  redis.call('SADD', KEYS[2], ARGV[1])
  if free then redis.call('SADD', KEYS[7], ARGV[1]) end
  if tonumber(stored[2]) < tonumber(ARGV[12]) then
    -- An open came first. Its generation started at 0 again: the next restart would not exceed the running session's.
    redis.call('HSET', KEYS[1], 'generation', ARGV[12])
  end
  if before_our_time(ARGV[14], stored[4] or '0') then
    if tonumber(ARGV[13]) >= tonumber(stored[3]) then
      redis.call('HSET', KEYS[1], 'count', tonumber(stored[1]) + left, 'epoch', ARGV[13])
    end
    redis.call('HSET', KEYS[1], 'since', '0')
    redis.call('DEL', KEYS[5])
  end
  return 1
end
redis.call('DEL', KEYS[5])
if left == 0 then
  redis.call('SREM', KEYS[2], ARGV[1])
  redis.call('SREM', KEYS[7], ARGV[1])
  redis.call('SET', KEYS[3], '0', 'EX', ARGV[15])
  return 0
end
redis.call('DEL', KEYS[3])
redis.call('SADD', KEYS[2], ARGV[1])
if free then redis.call('SADD', KEYS[7], ARGV[1]) end
redis.call('HSET', KEYS[1], 'exchange', ARGV[2], 'user_id', ARGV[3], 'digest', ARGV[4], 'count', left, 'generation', ARGV[12],
           'epoch', ARGV[13], 'born', ARGV[14], 'since', '0')
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'sealed', ARGV[5]) end
set_options(KEYS[1], 7)
return 1
