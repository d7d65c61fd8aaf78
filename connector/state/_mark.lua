-- Shared by the scripts that count. The backend's messages have no id. What was carried out leaves a mark under its body until
-- the broker is known to have the acknowledgement; a message that the broker brings again to another process uses one up instead
-- of counting. Equal messages that the first process had and did not get to (`behind`) count before: it does not matter which of
-- equal ones is which. Fields of a mark begin with their process. A key that ends in its colon is none.
local function others(field, holder)
  return field ~= 'behind' and field ~= 'taken' and string.sub(field, 1, #holder) ~= holder
end

-- coming: 1 = brought again, 2 = still with its first process after the connection was lost. That one finds in `taken` what
-- others carried out and acknowledged since.
local function carried_out_elsewhere(mark, holder, coming)
  if coming == '2' and tonumber(redis.call('HGET', mark, 'taken') or '0') > 0 then
    redis.call('HINCRBY', mark, 'taken', -1)
    return '0'
  end
  if tonumber(redis.call('HGET', mark, 'behind') or '0') > 0 then
    redis.call('HINCRBY', mark, 'behind', -1)
    return false
  end
  local marks = redis.call('HGETALL', mark)
  for i = 1, #marks, 2 do
    if others(marks[i], holder) then
      redis.call('HDEL', mark, marks[i])
      return marks[i + 1]
    end
  end
  return false
end

-- from: place in ARGV of the field, the process, 0 = new or how it comes again, how many are behind
local function leave_mark(nonce, mark, from, changed, keep_ms)
  carried_out(nonce, changed, keep_ms)
  if no_nonce(mark) then return end
  if ARGV[from + 2] == '0' then
    -- The first new one: what was brought again came before it.
    for _, field in ipairs(redis.call('HKEYS', mark)) do
      if others(field, ARGV[from + 1]) then redis.call('HDEL', mark, field) end
    end
    redis.call('HSET', mark, 'behind', ARGV[from + 3])
  end
  redis.call('HSET', mark, ARGV[from], tostring(changed))
  redis.call('PEXPIRE', mark, keep_ms)
end

local function answered_anywhere(nonce, mark, from, keep_ms)
  local before = answered(nonce)
  if before or no_nonce(mark) or ARGV[from + 2] == '0' then return before end
  before = carried_out_elsewhere(mark, ARGV[from + 1], ARGV[from + 2])
  if before then leave_mark(nonce, mark, from, before, keep_ms) end
  return before
end
