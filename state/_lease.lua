-- Shared by the scripts that touch leases; prepended to each of them. A lease reads "<fence>|<owner>".
local function new_fence(counter)
  local fence = redis.call('INCR', counter)
  if fence == 1 then
    -- Redis forgot the counter. Numbers handed out before were below the clock: they started from it as well.
    local now = redis.call('TIME')
    fence = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
    redis.call('SET', counter, string.format('%.0f', fence))
  end
  return string.format('%.0f', fence)
end

-- The second key outlives the lease: it tells a holder that comes back late whether somebody else had the unit since.
local function give(lease, last, fence, owner, ttl_ms, keep_ms)
  redis.call('SET', lease, fence .. '|' .. owner, 'PX', ttl_ms)
  redis.call('SET', last, fence, 'PX', keep_ms)
end
