-- Prolong one's leases; take back those that Redis lost, unless somebody else had them in between.
-- KEYS: fence counter, free units, what the owner holds, then for each unit its lease and its last fence
-- ARGV: owner, ttl in ms, ms to keep the last fence, 1 if the owner's life keeps them from now on, then the fences, then the
--       units
-- Returns for each unit 1 if it is lost, else 0. What is lost stays among what the owner holds until it gives that back: it
-- may have been handed over in this moment, and goes on to its taker if the giver dies now
local lost, kept = {}, {}
local units = (#KEYS - 3) / 2
for i = 1, units do
  local lease, last, fence, unit = KEYS[2 + 2 * i], KEYS[3 + 2 * i], ARGV[4 + i], ARGV[4 + units + i]
  local held = redis.call('GET', lease)
  local gone = 0
  if held == fence .. '|' .. ARGV[1] then
    redis.call('PEXPIRE', lease, ARGV[2])
  elseif held then
    gone = 1
  else
    local before = redis.call('GET', last)
    if before and tonumber(before) > tonumber(fence) then
      gone = 1
    else
      give(lease, last, fence, ARGV[1], ARGV[2], ARGV[3])
      if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(fence) then
        redis.call('SET', KEYS[1], fence)
      end
    end
  end
  if gone == 0 then kept[#kept + 1] = unit end
  lost[#lost + 1] = gone
end
if ARGV[4] == '1' then
  each('SADD', KEYS[3], kept)
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
end
each('SREM', KEYS[2], kept)
return lost
