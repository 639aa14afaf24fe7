-- Ask for the interruption of a prompt that is on a worker; whoever posts or watches it carries that out.
-- KEYS  1 version  2 changes  3 job      ARGV  1 prompt_id
-- Returns {worker, attempt, posted '0' | '1'} | {} when it is on no worker, or has ended there
local job = redis.call('HMGET', KEYS[3], 'state', 'worker', 'attempt', 'posted', 'over')
if (job[1] ~= 'assigned' and job[1] ~= 'running') or job[5] == '1' then return {} end
redis.call('HSET', KEYS[3], 'interrupting', 1)
changed(KEYS[1], KEYS[2], 'j', ARGV[1])
return { job[2], job[3], job[4] or '0' }
