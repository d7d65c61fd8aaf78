-- Shared by the scripts that touch wanted entries; prepended to each of them.
local FIELDS = {'exchange', 'user_id', 'count', 'generation', 'digest', 'epoch', 'sealed',
                'keys_type', 'okx_source', 'bybit_host', 'environment', 'born'}
local OPTIONS = {'keys_type', 'okx_source', 'bybit_host', 'environment'}

local function entry(key)
  return redis.call('HMGET', key, unpack(FIELDS))
end

-- A command that was carried out before comes again when its answer was late or lost: it must not count twice. Its nonce
-- keeps whether it changed something. A key that ends in its colon is no nonce: an empty key would be one of another slot of a
-- Redis Cluster.
local function no_nonce(key)
  return string.sub(key, -1) == ':'
end

local function answered(key)
  if no_nonce(key) then return false end
  return redis.call('GET', key)
end

local function carried_out(key, changed, keep_ms)
  if not no_nonce(key) then redis.call('SET', key, tostring(changed), 'PX', keep_ms) end
end

-- A number for every entry that is made, rising with the clock (µs).
local function birth()
  local now = redis.call('TIME')
  return string.format('%.0f', tonumber(now[1]) * 1000000 + tonumber(now[2]))
end

-- An entry and a tombstone tell since when the stream's subscribers are known here. Whoever remembers an entry that was born
-- before knows of others, which Redis forgot. '0': all are known.
local function before_our_time(born, since)
  since = tonumber(since)
  return since > 1 and tonumber(born) < since
end

-- Options are written only where the command names them: of two senders of the same key one may leave them out.
local function set_options(key, from)
  for i, name in ipairs(OPTIONS) do
    local value = ARGV[from + i - 1]
    if value ~= '' then redis.call('HSET', key, name, value) end
  end
end

-- The newest epoch that anybody knows. Redis may have evicted its key, so the caller's memory counts too.
local function newest_epoch(key, known)
  local stored = tonumber(redis.call('GET', key) or '0')
  known = tonumber(known)
  if known > stored then
    redis.call('SET', key, string.format('%.0f', known))
    return known
  end
  return stored
end
