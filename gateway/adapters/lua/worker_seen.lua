-- Publish what the lease holder of a worker sees of it.
-- KEYS  1 version  2 changes  3 seen  4 workers      ARGV  1 name  2 JSON
-- Returns 1, or 0 when the worker was removed
if redis.call('HEXISTS', KEYS[4], ARGV[1]) == 0 then return 0 end
redis.call('SET', KEYS[3], ARGV[2], 'EX', 86400)
changed(KEYS[1], KEYS[2], 'w', ARGV[1])
return 1
