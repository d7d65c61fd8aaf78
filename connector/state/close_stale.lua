-- Forget every entry whose latest open is older than an epoch.
-- KEYS: ids, free units
-- ARGV: epoch, prefix of entries, prefix of tombstones, seconds to keep a tombstone
-- Returns the ids forgotten
local closed = {}
for _, id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local epoch = redis.call('HGET', ARGV[2] .. id, 'epoch')
  if epoch and tonumber(epoch) < tonumber(ARGV[1]) then
    redis.call('DEL', ARGV[2] .. id)
    redis.call('SREM', KEYS[1], id)
    redis.call('SREM', KEYS[2], id)
    redis.call('SET', ARGV[3] .. id, '0', 'EX', ARGV[4])
    closed[#closed + 1] = id
  end
end
return closed
