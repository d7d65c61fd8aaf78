-- Give leases up. The last fence rises with it: a renewal that is still on its way must not take the lease back.
-- KEYS: for each unit its lease and its last fence
-- ARGV: ms to keep the last fence, then the fences, then the values of the leases
-- Returns nothing
local units = #KEYS / 2
for i = 1, units do
  if redis.call('GET', KEYS[2 * i - 1]) == ARGV[1 + units + i] then
    redis.call('DEL', KEYS[2 * i - 1])
    -- With a decimal, which no fence has: so a claim knows that nobody holds on to it.
    redis.call('SET', KEYS[2 * i], string.format('%.1f', tonumber(ARGV[1 + i]) + 1), 'PX', ARGV[1])
  end
end
