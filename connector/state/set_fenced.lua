-- Write what belongs to owners, unless somebody else owns the unit: a process that stood still must not overwrite what its
-- successor knows.
-- KEYS: for each unit its lease and what is to be written
-- ARGV: owner or '' (whoever owns it), ms to keep it, then the values
-- Returns nothing
for i = 1, #KEYS, 2 do
  local held = redis.call('GET', KEYS[i])
  if ARGV[1] == '' or not held or string.sub(held, string.find(held, '|', 1, true) + 1) == ARGV[1] then
    redis.call('SET', KEYS[i + 1], ARGV[2 + (i + 1) / 2], 'PX', ARGV[2])
  end
end
