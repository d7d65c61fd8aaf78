-- Give leases up. The last fence rises with it: a renewal that is still on its way must not take the lease back.
-- KEYS: free units, what the owner holds, then for each unit its lease, its last fence and its entry
-- ARGV: owner, ms to keep the last fence, prefix of what processes hold, then the fences ('' = whichever it has), then the units
-- Returns nothing
local free, left = {}, {}
local units = (#KEYS - 2) / 3
for i = 1, units do
  local lease, last, entry = KEYS[3 * i], KEYS[3 * i + 1], KEYS[3 * i + 2]
  local fence, unit = ARGV[3 + i], ARGV[3 + units + i]
  local held = redis.call('GET', lease)
  local ours = held and owner_of(held) == ARGV[1]
  local number = ours and string.sub(held, 1, string.find(held, '|', 1, true) - 1)
  if not ours or fence == '' or fence == number then left[#left + 1] = unit end
  if ours then
    if fence == '' or fence == number then
      redis.call('DEL', lease)
      -- With a decimal, which no fence has: so a claim knows that nobody holds on to it.
      redis.call('SET', last, string.format('%.1f', tonumber(number) + 1), 'PX', ARGV[2])
    end
  elseif held then
    -- It was handed over: from now on its new owner's heartbeat keeps it.
    redis.call('SADD', ARGV[3] .. owner_of(held), unit)
  else
    local before = redis.call('GET', last)
    if fence ~= '' and tonumber(before or '0') <= tonumber(fence) then
      redis.call('SET', last, string.format('%.1f', tonumber(fence) + 1), 'PX', ARGV[2])
    end
  end
  if redis.call('EXISTS', lease) == 0 and redis.call('EXISTS', entry) == 1 then free[#free + 1] = unit end
end
each('SREM', KEYS[2], left)
each('SADD', KEYS[1], free)
