-- Give an attempt up: its prompt waits again at its old turn, or, if nobody was told of it yet, is dropped.
-- KEYS  1 version  2 changes  3 waits  4 live  5 waiting  6 load  7 job  8 held  9 buried  10 secret
-- ARGV  1 prompt_id  2 attempt id  3 '1' if the worker may still get or run it  4 '1' if it died of it
--       5 'queue' | 'drop'  6.. pairs for the job hash
-- Returns {'ok', crashes} | {'gone'} | {'interrupting'}: it is to end instead, and nothing was changed
local id = ARGV[1]
local job = redis.call('HMGET', KEYS[7], 'state', 'attempt', 'caller', 'size', 'seq', 'interrupting')
local state = job[1]
if job[2] ~= ARGV[2] or (state ~= 'accepted' and state ~= 'assigned' and state ~= 'running') then return { 'gone' } end
if ARGV[5] == 'queue' and job[6] == '1' then return { 'interrupting' } end
redis.call('HDEL', KEYS[8], ARGV[2])
if ARGV[3] == '1' then
    redis.call('ZADD', KEYS[9], now_ms(), ARGV[2])
    redis.call('EXPIRE', KEYS[9], 86400)
end
if ARGV[5] == 'drop' then
    redis.call('DEL', KEYS[7], KEYS[10])
    redis.call('ZREM', KEYS[4], id)
    changed(KEYS[1], KEYS[2], 'j', id)
    return { 'ok', 0 }
end
local crashes = ARGV[4] == '1' and redis.call('HINCRBY', KEYS[7], 'crashes', 1)
    or tonumber(redis.call('HGET', KEYS[7], 'crashes'))
redis.call('HDEL', KEYS[7], 'worker', 'attempt', 'posted', 'reasons', 'over')
redis.call('HSET', KEYS[7], 'state', 'queued')
if #ARGV > 5 then redis.call('HSET', KEYS[7], unpack(ARGV, 6)) end
waits(KEYS[5], KEYS[6], KEYS[3], id, job[5], job[3], tonumber(job[4]))
changed(KEYS[1], KEYS[2], 'j', id)
return { 'ok', crashes }
