-- Start a new epoch. Tied to the clock, so that it rises even if Redis forgot the last one.
-- KEYS: epoch
-- ARGV: known epoch, now in ms
-- Returns the new epoch
local epoch = math.max(newest_epoch(KEYS[1], ARGV[1]) + 1, tonumber(ARGV[2]))
redis.call('SET', KEYS[1], string.format('%.0f', epoch))
return epoch
