-- Take from a sliding window: what was granted counts until its period is over (connector/core/window.py is the same in Python, and
-- tells why). The field `slices` holds `last grant:sum of costs` of each slice, oldest first; `since` is when the newest began.
-- KEYS: bucket
-- ARGV: cost, count, period in ms, now in ms, width of a slice in ms, how far ahead a clock may be in ms, least ms to keep
--       the bucket
-- Returns 0, or the ms to wait
local cost, count, period, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local stored = redis.call('HMGET', KEYS[1], 'slices', 'since', 'blocked')
local texts, lasts, costs, newest = {}, {}, {}, 0
for text, last, granted in string.gmatch(stored[1] or '', '((%d+):(%d+))') do
  newest = newest + 1
  texts[newest], lasts[newest], costs[newest] = text, tonumber(last), tonumber(granted)
end
local since, blocked = tonumber(stored[2] or '0'), tonumber(stored[3] or '0')

local function write(first)
  redis.call('HSET', KEYS[1], 'slices', table.concat(texts, ' ', first), 'since', string.format('%.0f', since))
  local keep = tonumber(ARGV[7]) + period + math.max(0, lasts[newest] - now, blocked - now)
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', keep))
end

-- The clock was set back: the grants move with it.
local back = newest > 0 and lasts[newest] - now or 0
if back > tonumber(ARGV[6]) then
  for i = 1, newest do
    lasts[i] = lasts[i] - back
    texts[i] = string.format('%.0f:%.0f', lasts[i], costs[i])
  end
  since = since - back
  write(1)
end

local present = newest > 0 and math.max(now, lasts[newest]) or now
local first = 1
while first <= newest and lasts[first] + period <= present do first = first + 1 end
local excess = cost - count
for i = first, newest do excess = excess + costs[i] end
local wait = math.max(0, blocked - now)
for i = first, newest do
  if excess <= 0 then break end
  excess = excess - costs[i]
  if excess <= 0 then wait = math.max(wait, lasts[i] + period - now) end
end
if wait > 0 then return wait end

if first <= newest and present - since < tonumber(ARGV[5]) then
  cost = cost + costs[newest]
else
  since, newest = present, newest + 1
end
lasts[newest] = present
texts[newest] = string.format('%.0f:%.0f', present, cost)
write(first)
return 0
