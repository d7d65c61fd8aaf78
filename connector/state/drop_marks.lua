-- Take marks back: the broker has the acknowledgements of what left them.
-- KEYS: marks
-- ARGV: the field of each
-- Returns nothing
for i, mark in ipairs(KEYS) do
  if redis.call('HDEL', mark, ARGV[i]) == 1 then
    local left = redis.call('HKEYS', mark)
    if #left == 1 and left[1] == 'behind' then redis.call('DEL', mark) end
  end
end
