-- Take from a token bucket. Whole numbers only: the level is counted in tokens × period, so that a millisecond refills
-- exactly `count` of them (state/bucket.py is the same in Python).
-- KEYS: bucket
-- ARGV: cost, count, period in ms, now in ms, least ms to keep the bucket
-- Returns 0, or the ms to wait
local cost, count, period, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local stored = redis.call('HMGET', KEYS[1], 'level', 'count', 'period', 'at', 'blocked')
local full = count * period
local level, at = full, now
if stored[1] then
  level, at = tonumber(stored[1]), tonumber(stored[4])
  local old_count, old_period = tonumber(stored[2]), tonumber(stored[3])
  if old_count ~= count or old_period ~= period then
    level = math.floor(level / old_period * period)
  end
  -- Another process's clock may be a little ahead. A clock that was set back is followed at once.
  if at > now + period then at = now end
  level = math.min(full, level + math.max(0, now - at) * count)
  at = math.max(at, now)
end
local wait = math.max(0, tonumber(stored[5] or '0') - now)
local missing = cost * period - level
if missing > 0 then wait = math.max(wait, at - now + math.ceil(missing / count)) end
if wait == 0 then level = level - cost * period end
redis.call('HSET', KEYS[1], 'level', string.format('%.0f', level), 'count', count, 'period', period,
           'at', string.format('%.0f', at))
local keep = tonumber(ARGV[5]) + math.ceil((full - level) / count) + math.max(0, tonumber(stored[5] or '0') - now)
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', keep))
return wait
