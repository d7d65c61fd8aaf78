-- Look at a part of the wanted streams: those without a lease are free. Heals what was evicted from the index of free units.
-- KEYS: ids, free units
-- ARGV: where to go on (0 = from the start), about how many, prefixes of leases and of heartbeats
-- Returns where to go on (0 = all were seen), and {owner, stream, …} of those in the name of a process without a heartbeat
local page = redis.call('SSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local alive, silent = {}, {}
for _, id in ipairs(page[2]) do
  local held = redis.call('GET', ARGV[3] .. id)
  if held then
    local owner = string.sub(held, string.find(held, '|', 1, true) + 1)
    if alive[owner] == nil then alive[owner] = redis.call('EXISTS', ARGV[4] .. owner) == 1 end
    if not alive[owner] then
      silent[#silent + 1] = owner
      silent[#silent + 1] = id
    end
  else
    redis.call('SADD', KEYS[2], id)
  end
end
return {page[1], silent}
