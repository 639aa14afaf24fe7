-- Add a worker or change what its owner says of it; the first one ever becomes the home worker.
-- KEYS  1 version  2 changes  3 workers  4 home  5 seen      ARGV  1 name  2 JSON  3 'new' to refuse a name that is taken
-- Returns 1, or 0 when the name is taken
local old = redis.call('HGET', KEYS[3], ARGV[1])
if ARGV[3] == 'new' and old then return old == ARGV[2] and 1 or 0 end
if old and cjson.decode(old).url ~= cjson.decode(ARGV[2]).url then redis.call('DEL', KEYS[5]) end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
redis.call('SETNX', KEYS[4], ARGV[1])
changed(KEYS[1], KEYS[2], 'w', ARGV[1])
return 1
