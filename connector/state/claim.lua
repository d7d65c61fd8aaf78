-- Take the leases that are free. One's own lease counts as taken now: the answer to an earlier claim may have been lost.
-- A lease that is missing without having been given up may have been forgotten: not free while a process that is not buried
-- has the unit among what it holds.
-- KEYS: fence counter, free units, what the owner holds, index of processes, its heartbeat, then for each unit its lease and its
--       last fence
-- ARGV: owner, ttl in ms, ms to keep the last fence, 1 if only a process with a heartbeat may claim, prefix of what processes
--       hold, then the units
-- Returns for each unit the fence, or '' if somebody else has it
local fences, taken, owned, others = {}, {}, {}, nil
local barred = ARGV[4] == '1' and redis.call('EXISTS', KEYS[5]) == 0

local function held_by_another(unit)
  others = others or redis.call('SMEMBERS', KEYS[4])
  for _, other in ipairs(others) do
    if other ~= ARGV[1] and redis.call('SISMEMBER', ARGV[5] .. other, unit) == 1 then return true end
  end
  return false
end

for i = 6, #KEYS, 2 do
  local unit = ARGV[5 + (i - 4) / 2]
  local lease = redis.call('GET', KEYS[i])
  local fence = ''
  if barred then
    fence = ''
  elseif not lease then
    if given_up(redis.call('GET', KEYS[i + 1])) or not held_by_another(unit) then
      fence = new_fence(KEYS[1])
      give(KEYS[i], KEYS[i + 1], fence, ARGV[1], ARGV[2], ARGV[3])
      taken[#taken + 1] = unit
    end
  elseif owner_of(lease) == ARGV[1] then
    fence = string.sub(lease, 1, string.find(lease, '|', 1, true) - 1)
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
    taken[#taken + 1] = unit
  else
    owned[#owned + 1] = unit
  end
  fences[#fences + 1] = fence
end
each('SADD', KEYS[3], taken)
redis.call('PEXPIRE', KEYS[3], ARGV[3])
each('SREM', KEYS[2], taken)
each('SREM', KEYS[2], owned)
return fences
