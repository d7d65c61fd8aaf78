-- Say that a process lives: the lease on all that it holds.
-- KEYS: its heartbeat, index of processes, what it holds
-- ARGV: the heartbeat, ms that it lasts, the process, ms to keep what it holds
-- Returns how many units it is known to hold, or nothing if its last heartbeat was not there any more
local stood = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
if stood == 0 then return false end
return redis.call('SCARD', KEYS[3])
