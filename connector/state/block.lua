-- Bar a bucket. A shorter ban never replaces a longer one.
-- KEYS: bucket
-- ARGV: until in ms, least ms to keep the bucket
-- Returns nothing
local till = math.max(tonumber(ARGV[1]), tonumber(redis.call('HGET', KEYS[1], 'blocked') or '0'))
redis.call('HSET', KEYS[1], 'blocked', string.format('%.0f', till))
local now = redis.call('TIME')
local ahead = math.max(0, till - tonumber(now[1]) * 1000)
local keep = math.max(ahead + tonumber(ARGV[2]), redis.call('PTTL', KEYS[1]))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', keep))
