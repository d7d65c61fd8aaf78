-- Heartbeats of the living; the dead leave the index.
-- KEYS: index
-- ARGV: prefix of heartbeats
-- Returns heartbeat texts
local alive = {}
for _, owner in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local beat = redis.call('GET', ARGV[1] .. owner)
  if beat then
    alive[#alive + 1] = beat
  else
    redis.call('SREM', KEYS[1], owner)
  end
end
return alive
