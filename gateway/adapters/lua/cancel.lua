-- Take a waiting prompt out of the queue. It leaves no history; its hash says 'cancelled' for an hour.
-- KEYS  1 version  2 changes  3 live  4 waiting  5 load  6 job  7 secret      ARGV  1 prompt_id
-- Returns 1, or 0 when it does not wait
local job = redis.call('HMGET', KEYS[6], 'state', 'caller', 'size')
if job[1] ~= 'queued' then return 0 end
waits_no_more(KEYS[4], KEYS[5], ARGV[1], job[2], tonumber(job[3]))
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[7])
redis.call('HSET', KEYS[6], 'state', 'cancelled', 'ended', now_ms())
redis.call('HDEL', KEYS[6], 'body', 'tail')
redis.call('EXPIRE', KEYS[6], 3600)
changed(KEYS[1], KEYS[2], 'j', ARGV[1])
return 1
