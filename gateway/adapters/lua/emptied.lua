-- Tell every replica that a worker has lost its models; it restarted, ran out of memory, or was told to free them.
-- KEYS  1 version  2 changes      ARGV  1 worker  2 'r' when its node cache is gone too, else 'e'
-- Returns 1
changed(KEYS[1], KEYS[2], ARGV[2], ARGV[1])
return 1
