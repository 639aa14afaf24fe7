-- Take a waiting prompt for a worker that has a free slot.
-- KEYS  1 version  2 changes  3 waiting  4 load  5 job  6 held  7 secret  8 workers
-- ARGV  1 prompt_id  2 worker  3 attempt id  4 depth  5 replica  6 reasons as JSON
-- Returns {'won', body, secrets or '', attempts} | {'busy'} | {'gone'}
local id = ARGV[1]
local job = redis.call('HMGET', KEYS[5], 'state', 'caller', 'size', 'body', 'attempt', 'attempts')
if job[5] == ARGV[3] then return { 'won', job[4], redis.call('GET', KEYS[7]) or '', tonumber(job[6]) } end -- asked again
if job[1] ~= 'queued' then return { 'gone' } end
if not is_open(KEYS[8], ARGV[2]) then return { 'busy' } end
if taken(KEYS[6]) >= tonumber(ARGV[4]) then return { 'busy' } end
waits_no_more(KEYS[3], KEYS[4], id, job[2], tonumber(job[3]))
redis.call('HSET', KEYS[6], ARGV[3], id)
redis.call('HSET', KEYS[5], 'state', 'assigned', 'worker', ARGV[2], 'attempt', ARGV[3], 'owner', ARGV[5],
    'posted', 0, 'since', now_ms(), 'reasons', ARGV[6])
local attempts = redis.call('HINCRBY', KEYS[5], 'attempts', 1)
changed(KEYS[1], KEYS[2], 'j', id)
return { 'won', job[4], redis.call('GET', KEYS[7]) or '', attempts }
