-- What tells whether entries changed, and repair the set of ids where Redis evicted it.
-- KEYS: ids, entries…
-- ARGV: their ids
-- Returns count, generation, digest and epoch (or {}) for each
local found, known = {}, {}
for i, id in ipairs(ARGV) do
  local row = redis.call('HMGET', KEYS[i + 1], 'count', 'generation', 'digest', 'epoch')
  if row[1] then
    found[i] = row
    known[#known + 1] = id
  else
    found[i] = {}
  end
end
if #known > 0 then redis.call('SADD', KEYS[1], unpack(known)) end
return found
