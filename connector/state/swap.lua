-- Write or forget a text, only if it still reads as the caller read it.
-- KEYS: text
-- ARGV: '1' if there was one, what it read, '1' if there shall be one, what it shall read, ms to keep it or 0 = for good
-- Returns 1 if it was done
local stored = redis.call('GET', KEYS[1])
local before = ARGV[1] == '1' and ARGV[2] or false
if stored ~= before then
  return 0
end
if ARGV[3] ~= '1' then
  redis.call('DEL', KEYS[1])
elseif ARGV[5] == '0' then
  redis.call('SET', KEYS[1], ARGV[4])
else
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
end
return 1
