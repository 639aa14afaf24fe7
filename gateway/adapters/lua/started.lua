-- The worker was seen to run this attempt.
-- KEYS  1 version  2 changes  3 job      ARGV  1 prompt_id  2 attempt id
-- Returns 1, or 0 when that attempt is not the one assigned
local job = redis.call('HMGET', KEYS[3], 'state', 'attempt')
if job[1] ~= 'assigned' or job[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[3], 'state', 'running', 'since', now_ms(), 'posted', 1)
changed(KEYS[1], KEYS[2], 'j', ARGV[1])
return 1
