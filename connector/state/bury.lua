-- Free what a process held whose heartbeat is gone. What it was handing over when it died belongs to its takers.
-- KEYS: its heartbeat, what it holds, index of processes, free units
-- ARGV: the process, ms to keep the last fence, 1 = it says itself that it is dead, prefixes of leases, of last fences, of what
--       processes hold and of entries, then units that are in its name beside those that it is known to hold
-- Returns the units that are free by this, or nothing if it lives
if ARGV[3] == '1' then
  redis.call('DEL', KEYS[1])
elseif redis.call('EXISTS', KEYS[1]) == 1 then
  return false
end
local units = redis.call('SMEMBERS', KEYS[2])
for i = 8, #ARGV do units[#units + 1] = ARGV[i] end
local freed = {}
for _, unit in ipairs(units) do
  local held = redis.call('GET', ARGV[4] .. unit)
  if held and owner_of(held) ~= ARGV[1] then
    redis.call('SADD', ARGV[6] .. owner_of(held), unit)
  else
    local last = redis.call('GET', ARGV[5] .. unit)
    local fence = held and string.sub(held, 1, string.find(held, '|', 1, true) - 1) or last
    if fence then
      -- Its own number, so that it may go on if it lives after all and nobody took the unit (_lease.lua, given_up).
      redis.call('SET', ARGV[5] .. unit, string.format('%.1f', tonumber(fence)), 'PX', ARGV[2])
    end
    redis.call('DEL', ARGV[4] .. unit)
    if redis.call('EXISTS', ARGV[7] .. unit) == 1 then redis.call('SADD', KEYS[4], unit) end
    freed[#freed + 1] = unit
  end
end
redis.call('DEL', KEYS[2])
redis.call('SREM', KEYS[3], ARGV[1])
return freed
