-- One subscriber more.
-- KEYS: entry, ids, tombstone, epoch, lease, nonce, free units, mark
-- ARGV: id, exchange, user id, digest, sealed or '', known epoch, four options, ms to keep nonce and mark, field of the mark, process, 0 = new or how it comes again,
--       equal ones behind it
-- Returns {changed, lease, entry}; to a nonce that was answered the same again, with the entry as it is
local before = answered_anywhere(KEYS[6], KEYS[8], 12, ARGV[11])
if before then
  local row = redis.call('EXISTS', KEYS[1]) == 1 and entry(KEYS[1]) or {}
  return {tonumber(before), redis.call('GET', KEYS[5]), row}
end
local stored = redis.call('HMGET', KEYS[1], 'digest', 'epoch')
local known_here = stored[1] ~= false
local stored_epoch = tonumber(stored[2] or '0')
local epoch = newest_epoch(KEYS[4], math.max(tonumber(ARGV[6]), stored_epoch))
local changed = 0
if stored[1] ~= ARGV[4] then
  -- A new stream or new key material: the whole command replaces what was kept.
  changed = 1
  redis.call('HDEL', KEYS[1], 'sealed', unpack(OPTIONS))
  redis.call('HSET', KEYS[1], 'exchange', ARGV[2], 'user_id', ARGV[3], 'digest', ARGV[4])
end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'sealed', ARGV[5]) end
set_options(KEYS[1], 7)
if not known_here then
  local born = birth()
  redis.call('HSET', KEYS[1], 'generation', 0, 'born', born, 'since', redis.call('GET', KEYS[3]) or born)
end
if known_here and stored_epoch >= epoch then
  redis.call('HINCRBY', KEYS[1], 'count', 1)
else
  changed = 1
  redis.call('HSET', KEYS[1], 'count', 1)
end
redis.call('HSET', KEYS[1], 'epoch', string.format('%.0f', epoch))
redis.call('SADD', KEYS[2], ARGV[1])
local lease = redis.call('GET', KEYS[5])
if not lease then redis.call('SADD', KEYS[7], ARGV[1]) end
redis.call('DEL', KEYS[3])
leave_mark(KEYS[6], KEYS[8], 12, changed, ARGV[11])
return {changed, lease, entry(KEYS[1])}
