-- Make a worker the home worker.
-- KEYS  1 version  2 changes  3 home      ARGV  1 name
redis.call('SET', KEYS[3], ARGV[1])
changed(KEYS[1], KEYS[2], 'w', ARGV[1])
return 1
