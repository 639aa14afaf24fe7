-- The end of a prompt: its record is kept, its slot is free, its secrets are gone; all at once.
-- KEYS  1 version  2 changes  3 live  4 waiting  5 load  6 history  7 job  8 held  9 record  10 secret  11 events
-- ARGV  1 prompt_id  2 attempt id that ended, or '' for a prompt on no worker  3 outcome  4 record, compressed
--       5 summary as JSON  6 history_ttl in seconds  7 history_max  8 prefix of job keys  9 prefix of record keys
--       10 its last event as JSON, or ''  11 how long events are kept, in seconds  12 what its times teach, or ''
-- Returns 1, or 0 when the prompt is not in that attempt (any more): then nothing is changed
local id = ARGV[1]
local job = redis.call('HMGET', KEYS[7], 'state', 'attempt', 'caller', 'size')
if not redis.call('ZSCORE', KEYS[3], id) or (job[2] or '') ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[3], id)
waits_no_more(KEYS[4], KEYS[5], id, job[3], tonumber(job[4]))
if ARGV[2] ~= '' then redis.call('HDEL', KEYS[8], ARGV[2]) end
redis.call('DEL', KEYS[10])
local place = changed(KEYS[1], KEYS[2], 'j', id)
redis.call('HSET', KEYS[7], 'state', ARGV[3], 'ended', now_ms(), 'place', place, 'summary', ARGV[5])
redis.call('HDEL', KEYS[7], 'body', 'tail', 'attempt', 'posted', 'interrupting', 'over')
if ARGV[12] ~= '' then redis.call('HSET', KEYS[7], 'lesson', ARGV[12]) end
redis.call('EXPIRE', KEYS[7], ARGV[6])
redis.call('SET', KEYS[9], ARGV[4], 'EX', ARGV[6])
redis.call('ZADD', KEYS[6], place, id)
if ARGV[10] ~= '' then
    redis.call('XADD', KEYS[11], '*', 'e', ARGV[10])
    redis.call('EXPIRE', KEYS[11], ARGV[11])
end
for _, old in ipairs(redis.call('ZRANGE', KEYS[6], 0, -1 - tonumber(ARGV[7]))) do
    redis.call('ZREM', KEYS[6], old)
    redis.call('DEL', ARGV[8] .. old, ARGV[9] .. old)
    changed(KEYS[1], KEYS[2], 'j', old)
end
return 1
