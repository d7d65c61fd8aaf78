-- Forget the candle subscriptions that nobody asked for since a moment.
-- KEYS: subscriptions, those asked for since then ('' among them: since then nothing was evicted), text that changes with it
-- ARGV: what the text shall read
-- Returns the members forgotten
if redis.call('SISMEMBER', KEYS[2], '') == 0 then
  return {}
end
local unasked = redis.call('SDIFF', KEYS[1], KEYS[2])
for _, member in ipairs(unasked) do
  redis.call('SREM', KEYS[1], member)
end
if #unasked > 0 then
  redis.call('SET', KEYS[3], ARGV[1])
end
redis.call('DEL', KEYS[2])
return unasked
