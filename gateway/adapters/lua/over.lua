-- The worker said that it has ended this attempt: another prompt may go there, though the record is still to come.
-- KEYS  1 version  2 changes  3 job  4 held      ARGV  1 prompt_id  2 attempt id
-- Returns 1, or 0: not the attempt that is assigned, to be interrupted, or the one before it is not put away either
local job = redis.call('HMGET', KEYS[3], 'state', 'attempt', 'interrupting', 'over')
if (job[1] ~= 'assigned' and job[1] ~= 'running') or job[2] ~= ARGV[2] or job[3] == '1' then return 0 end
if job[4] == '1' then return 1 end -- asked again
if taken(KEYS[4]) < redis.call('HLEN', KEYS[4]) then return 0 end
redis.call('HSET', KEYS[3], 'over', 1)
redis.call('HSET', KEYS[4], ARGV[2], '')
changed(KEYS[1], KEYS[2], 'j', ARGV[1])
return 1
