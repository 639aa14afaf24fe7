-- A folder of a worker's disk began anew.
-- KEYS  1 disk      ARGV  1 type of folder  2 the life it was in ('0': in none)  3 the life it is in  4 seconds to live
-- Returns the life that is recorded now
if (redis.call('HGET', KEYS[1], ARGV[1]) or '0') == ARGV[2] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
redis.call('EXPIRE', KEYS[1], ARGV[4])
return tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
