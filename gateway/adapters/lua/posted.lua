-- The worker answered the post of an attempt with a 200. An accepted prompt is seen by clients from here on.
-- KEYS  1 version  2 changes  3 job  4 held
-- ARGV  1 prompt_id  2 attempt id  3 the id the worker gave it (the same, but on workers that mint their own)
--       4.. pairs for the job hash (answer, tail …)
-- Returns 'ok' | 'interrupt' (asked for meanwhile) | 'gone' (another attempt, or the end, came first)
local job = redis.call('HMGET', KEYS[3], 'state', 'attempt', 'interrupting', 'posted', 'over')
if job[2] ~= ARGV[2] and job[2] ~= ARGV[3] then return 'gone' end -- the latter when asked again
if job[1] ~= 'accepted' and job[1] ~= 'assigned' and job[1] ~= 'running' then return 'gone' end
if job[1] == 'accepted' then redis.call('HSET', KEYS[3], 'state', 'assigned', 'since', now_ms()) end
redis.call('HSET', KEYS[3], 'posted', 1, 'attempt', ARGV[3])
if #ARGV > 3 then redis.call('HSET', KEYS[3], unpack(ARGV, 4)) end
if ARGV[3] ~= ARGV[2] then
    redis.call('HDEL', KEYS[4], ARGV[2])
    redis.call('HSET', KEYS[4], ARGV[3], job[5] == '1' and '' or ARGV[1])
end
changed(KEYS[1], KEYS[2], 'j', ARGV[1])
return job[3] == '1' and 'interrupt' or 'ok'
