-- Take in a prompt that a node put on its own worker while one of ours ran there. It is on that worker already.
-- KEYS  1 version  2 changes  3 number  4 live  5 job  6 held  7 secret
-- ARGV  1 prompt_id, which is also what the worker calls it  2 worker  3 caller  4 size  5 secrets as JSON, or ''
--       6.. pairs for the job hash
-- Returns 1, or 0 when it is known already
local id = ARGV[1]
if redis.call('EXISTS', KEYS[5]) == 1 then return 0 end
local seq = changed(KEYS[1], KEYS[2], 'j', id)
redis.call('HSET', KEYS[5], 'number', tostring(redis.call('INCR', KEYS[3]) - 1), 'seq', seq, 'caller', ARGV[3],
    'size', ARGV[4], 'attempts', 1, 'crashes', 0, 'created', now_ms(), 'since', now_ms(), 'state', 'assigned',
    'posted', 1, 'worker', ARGV[2], 'attempt', id, 'first', id)
redis.call('HSET', KEYS[5], unpack(ARGV, 6))
if ARGV[5] ~= '' then redis.call('SET', KEYS[7], ARGV[5], 'EX', 604800) end
redis.call('HSET', KEYS[6], id, id)
redis.call('ZADD', KEYS[4], seq, id)
return 1
