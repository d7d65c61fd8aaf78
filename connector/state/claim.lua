-- Take the leases that are free. One's own lease counts as taken now: the answer to an earlier claim may have been lost.
-- KEYS: fence counter, then for each unit its lease and its last fence
-- ARGV: owner, ttl in ms, ms to keep the last fence, then for each unit 1 if only a lease that was given up may be taken
-- Returns for each unit the fence, or '' if somebody else has it
local fences = {}
for i = 2, #KEYS, 2 do
  local held = redis.call('GET', KEYS[i])
  local fence = ''
  if not held and ARGV[3 + i / 2] == '1' and not given_up(redis.call('GET', KEYS[i + 1])) then
    fence = ''
  elseif not held then
    fence = new_fence(KEYS[1])
    give(KEYS[i], KEYS[i + 1], fence, ARGV[1], ARGV[2], ARGV[3])
  else
    local bar = string.find(held, '|', 1, true)
    if string.sub(held, bar + 1) == ARGV[1] then
      fence = string.sub(held, 1, bar - 1)
      redis.call('PEXPIRE', KEYS[i], ARGV[2])
    end
  end
  fences[#fences + 1] = fence
end
return fences
