-- Remove a worker that holds none of our prompts.
-- KEYS  1 version  2 changes  3 workers  4 home  5 held  6 seen      ARGV  1 name
-- Returns 'ok' | 'busy' | 'unknown'
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 0 then return 'unknown' end
if redis.call('HLEN', KEYS[5]) > 0 then return 'busy' end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('DEL', KEYS[6])
if redis.call('GET', KEYS[4]) == ARGV[1] then
    redis.call('DEL', KEYS[4])
    local rest = redis.call('HKEYS', KEYS[3])
    table.sort(rest)
    if rest[1] then redis.call('SET', KEYS[4], rest[1]) end
end
changed(KEYS[1], KEYS[2], 'w', ARGV[1])
return 'ok'
