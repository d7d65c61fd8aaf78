-- Prolong one's leases; take back those that Redis lost, unless somebody else had them in between.
-- KEYS: fence counter, then for each unit its lease and its last fence
-- ARGV: owner, ttl in ms, ms to keep the last fence, then the fences
-- Returns for each unit 1 if it is lost, else 0
local lost = {}
for i = 2, #KEYS, 2 do
  local fence = ARGV[3 + i / 2]
  local held = redis.call('GET', KEYS[i])
  local gone = 0
  if held == fence .. '|' .. ARGV[1] then
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
  elseif held then
    gone = 1
  else
    local last = redis.call('GET', KEYS[i + 1])
    if last and tonumber(last) > tonumber(fence) then
      gone = 1
    else
      give(KEYS[i], KEYS[i + 1], fence, ARGV[1], ARGV[2], ARGV[3])
      if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(fence) then
        redis.call('SET', KEYS[1], fence)
      end
    end
  end
  lost[#lost + 1] = gone
end
return lost
