-- Remember what the farm calls the files that a prompt wrote.
-- KEYS  1 written output  2 written temp, then for each file a key for each of those whose it is
-- ARGV  1 client_id or ''  2 seconds to live  3 how many to list  4 when, in ms  5 keys for each file, then for each file its
--       name in the farm and the type of folder that lists it, or ''
-- Returns 1
local per_file = tonumber(ARGV[5])
for i = 6, #ARGV, 2 do
    local first = 3 + (i - 6) / 2 * per_file
    for k = first, first + per_file - 1 do
        local before = redis.call('HGET', KEYS[k], 'client')
        if before and before ~= ARGV[1] then redis.call('HSET', KEYS[k], 'many', 1) end
        redis.call('HSET', KEYS[k], 'client', ARGV[1], 'name', ARGV[i])
        redis.call('EXPIRE', KEYS[k], ARGV[2])
    end
    local list = ({ output = KEYS[1], temp = KEYS[2] })[ARGV[i + 1]]
    if list then
        redis.call('ZADD', list, ARGV[4], ARGV[i])
        redis.call('ZREMRANGEBYRANK', list, 0, -1 - ARGV[3])
        redis.call('EXPIRE', list, ARGV[2])
    end
end
return 1
