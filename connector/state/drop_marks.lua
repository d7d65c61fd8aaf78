-- Take marks back: the broker has the acknowledgements of what left them. Of what had come again, the process that had it first
-- may still have it: it is told that it was taken.
-- KEYS: marks
-- ARGV: for each the field, 1 = had come again
-- Returns nothing
for i, mark in ipairs(KEYS) do
  if redis.call('HEXISTS', mark, ARGV[2 * i - 1]) == 1 then
    -- Counted first: a hash without fields goes, and a new one would not have its end.
    if ARGV[2 * i] == '1' then redis.call('HINCRBY', mark, 'taken', 1) end
    redis.call('HDEL', mark, ARGV[2 * i - 1])
    local left = redis.call('HKEYS', mark)
    if #left == 1 and left[1] == 'behind' then redis.call('DEL', mark) end
  end
end
