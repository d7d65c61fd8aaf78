-- Remove the gate of one key; that of a newer one stays.
-- KEYS: gate
-- ARGV: digest of the key
-- Returns nothing
local text = redis.call('GET', KEYS[1])
if text then
  local readable, gate = pcall(cjson.decode, text)
  if not readable or gate.digest == ARGV[1] then redis.call('DEL', KEYS[1]) end
end
