-- Shared by the scripts that touch leases; prepended to each of them. A lease reads "<fence>|<owner>".
local function new_fence(counter)
  local fence = redis.call('INCR', counter)
  if fence == 1 then
    -- New, or Redis forgot it. Counting from the clock (in µs) starts above everything that was handed out before.
    local now = redis.call('TIME')
    fence = tonumber(now[1]) * 1000000 + tonumber(now[2])
    redis.call('SET', counter, string.format('%.0f', fence))
  end
  return string.format('%.0f', fence)
end

local function owner_of(lease)
  return string.sub(lease, string.find(lease, '|', 1, true) + 1)
end

-- Whether the last fence says that nobody holds on to the unit: its owner gave it up (release.lua), or is buried (bury.lua).
-- Else a lease that is missing ran out, or Redis forgot it.
local function given_up(last)
  return last and string.find(last, '.', 1, true)
end

-- The second key outlives the lease: it tells a holder that comes back late whether somebody else had the unit since.
local function give(lease, last, fence, owner, ttl_ms, keep_ms)
  redis.call('SET', lease, fence .. '|' .. owner, 'PX', ttl_ms)
  redis.call('SET', last, fence, 'PX', keep_ms)
end

-- Put into a set, or take from it, as many as there are.
local function each(command, key, members)
  if #members > 0 then redis.call(command, key, unpack(members)) end
end
