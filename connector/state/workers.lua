-- The processes that are not buried.
-- KEYS: index
-- ARGV: prefix of heartbeats
-- Returns for each its name, its heartbeat or '', and the ms that this still lasts
local found = {}
for _, owner in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local key = ARGV[1] .. owner
  found[#found + 1] = owner
  found[#found + 1] = redis.call('GET', key) or ''
  found[#found + 1] = redis.call('PTTL', key)
end
return found
