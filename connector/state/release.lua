-- Give leases up.
-- KEYS: leases
-- ARGV: their values
-- Returns nothing
for i, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[i] then redis.call('DEL', key) end
end
