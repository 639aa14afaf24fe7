-- Take a prompt in: to wait, or straight onto a worker's free slot while its validation is asked there.
-- KEYS  1 version  2 changes  3 number  4 waits  5 live  6 waiting  7 load  8 job  9 secret  10 held  11 record
--       12 history  13 workers
-- ARGV  1 prompt_id  2 digest of its prompt  3 'auto' | 'front' | the explicit number as JSON text  4 caller
--       5 size in bytes  6 max_queue  7 max_queue_bytes  8 max_queue_per_caller  9 secrets as JSON, or ''
--       10 'wait' | 'post'  11 worker  12 waits as the caller saw it  13 depth  14 replica
--       15 attempt id, which also tells a repeated call from a repeated prompt  16.. pairs for the job hash
-- Returns {'new', number, seq} | {'same', state} | {'conflict'} | {'yours'} | {'full'} | {'busy'} | {'stale'}
local id, caller, size, attempt = ARGV[1], ARGV[4], tonumber(ARGV[5]), ARGV[15]
local known = redis.call('HMGET', KEYS[8], 'digest', 'state', 'first', 'number', 'seq')
if known[3] == attempt then return { 'new', known[4], tonumber(known[5]) } end
if known[1] and known[2] ~= 'cancelled' then
    return known[1] == ARGV[2] and { 'same', known[2] } or { 'conflict' }
end
if ARGV[10] == 'wait' then
    if tonumber(redis.call('HGET', KEYS[7], 'c:' .. caller) or 0) >= tonumber(ARGV[8]) then return { 'yours' } end
    if redis.call('ZCARD', KEYS[6]) >= tonumber(ARGV[6]) then return { 'full' } end
    if tonumber(redis.call('HGET', KEYS[7], 'bytes') or 0) + size > tonumber(ARGV[7]) then return { 'full' } end
else
    if not is_open(KEYS[13], ARGV[11]) then return { 'busy' } end
    if taken(KEYS[10]) >= tonumber(ARGV[13]) then return { 'busy' } end
    if (redis.call('GET', KEYS[4]) or '0') ~= ARGV[12] then return { 'stale' } end
end
local number = ARGV[3]
if number == 'auto' or number == 'front' then
    local n = redis.call('INCR', KEYS[3]) - 1
    number = tostring(number == 'front' and -n or n)
    if number == '-0' then number = '0' end
end
redis.call('DEL', KEYS[8], KEYS[11])
redis.call('ZREM', KEYS[12], id)
local seq = redis.call('INCR', KEYS[1])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 20000, seq .. '-0', 'j', id)
redis.call('HSET', KEYS[8], 'digest', ARGV[2], 'number', number, 'seq', seq, 'caller', caller, 'size', size,
    'attempts', 0, 'crashes', 0,
    'owner', ARGV[14], 'first', attempt, 'created', now_ms())
redis.call('HSET', KEYS[8], unpack(ARGV, 16))
if ARGV[9] ~= '' then redis.call('SET', KEYS[9], ARGV[9], 'EX', 604800) end
redis.call('ZADD', KEYS[5], seq, id)
if ARGV[10] == 'wait' then
    redis.call('HSET', KEYS[8], 'state', 'queued')
    waits(KEYS[6], KEYS[7], KEYS[4], id, seq, caller, size)
else
    redis.call('HSET', KEYS[8], 'state', 'accepted', 'worker', ARGV[11], 'attempt', attempt, 'attempts', 1)
    redis.call('HSET', KEYS[10], attempt, id)
end
return { 'new', number, seq }
